"""Attention of a ViT-L by SDPA, xformers and flex attention, forwards and backwards.

    python performance/attention.py --device cuda --tokens 1024 4096 --batch 8
    python performance/attention.py --tokens 64 --batch 1 --heads 2   # steps through on a CPU

Ways take turns in one process on the same inputs, in bf16 on a GPU and float32 on a CPU. Each is
compared with SDPA's result first. xformers has no operator for CPUs, and flex attention has no
backward pass there: what cannot run is named, with the reason.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

type Attention = Callable[[Tensor, Tensor, Tensor], Tensor]

TOLERANCES = {torch.bfloat16: 2e-2, torch.float32: 1e-5}


def by_sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value)


def by_xformers(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    from xformers.ops import memory_efficient_attention

    turned = (part.transpose(1, 2) for part in (query, key, value))  # it has heads after tokens
    result: Tensor = memory_efficient_attention(*turned)
    return result.transpose(1, 2)


def ways(device: torch.device) -> dict[str, Attention]:
    compiled = torch.compile(flex_attention) if device.type == 'cuda' else flex_attention
    return {'sdpa': by_sdpa, 'xformers': by_xformers, 'flex': compiled}


def run(attend: Attention, parts: tuple[Tensor, ...], *, backward: bool) -> float:
    """Seconds of one call; the device is waited for."""
    start = time.perf_counter()
    if backward:
        leaves = [part.detach().requires_grad_() for part in parts]
        total = attend(*leaves).float().sum()
        total.backward()
    else:
        with torch.no_grad():
            total = attend(*parts).float().sum()
    float(total.detach())
    if parts[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(tokens: int, args: argparse.Namespace, device: torch.device) -> list[dict[str, object]]:
    dtype = torch.bfloat16 if device.type == 'cuda' else torch.float32
    torch.manual_seed(0)
    shape = (args.batch, args.heads, tokens, args.width)
    parts = tuple(torch.randn(shape, device=device, dtype=dtype) for _ in range(3))
    expected = by_sdpa(*parts)
    rows: list[dict[str, object]] = []
    for backward in (False, True):
        running: dict[str, Attention] = {}
        kind = 'forwards and backwards' if backward else 'forwards'
        for name, attend in ways(device).items():
            try:
                bar = TOLERANCES[dtype]
                torch.testing.assert_close(attend(*parts), expected, rtol=bar, atol=bar)
                run(attend, parts, backward=backward)
                running[name] = attend
            except (NotImplementedError, RuntimeError, ImportError) as error:
                print(f'{tokens} tokens, {kind}, {name}: cannot run: {str(error).splitlines()[0]}')
        seconds: dict[str, list[float]] = {name: [] for name in running}
        for turn in range(args.repeats + 2):
            for name, attend in running.items():
                taken = run(attend, parts, backward=backward)
                if turn >= 2:  # two to warm up
                    seconds[name].append(taken)
        for name, times in seconds.items():
            low, median, high = statistics.quantiles(times, n=4)
            ratio = statistics.median(seconds['sdpa']) / median
            print(
                f'{tokens} tokens, {kind}, {name}: {median * 1e3:.2f} ms '
                f'(IQR {low * 1e3:.2f}–{high * 1e3:.2f}), {ratio:.2f} × as fast as sdpa',
                flush=True,
            )
            rows.append(
                {'tokens': tokens, 'kind': kind, 'way': name, 'seconds': median, 'ratio': ratio}
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--tokens', type=int, nargs='+', default=[1024, 4096])
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--heads', type=int, default=16)
    parser.add_argument('--width', type=int, default=64, help='channels per head')
    parser.add_argument('--repeats', type=int, default=20)
    parser.add_argument('--json', type=Path, help='file that the numbers are written to')
    args = parser.parse_args()
    device = torch.device(args.device)
    name = torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'
    print(f'torch {torch.__version__}, {name}')
    rows = [row for tokens in args.tokens for row in measure(tokens, args, device)]
    if args.json is not None:
        facts = {'device': name, 'torch': torch.__version__, 'rows': rows}
        args.json.write_text(json.dumps(facts, indent=1))


if __name__ == '__main__':
    main()
