"""How fast is the synthetic Earth drawn? Megapixels per second of `SyntheticEarth.draw`, by domain.

    OMP_NUM_THREADS=1 taskset -c 0 python performance/synthetic_earth.py --height 4200 --width 4500

Prints the median and the interquartile range over several scenes, in wall-clock time and in CPU
time (which depends less on other load), and the peak memory of the process.
"""

import argparse
import resource
import time

import numpy as np

from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--height', type=int, default=4200)
    parser.add_argument('--width', type=int, default=4500)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--domains', nargs='*', default=list(EARTH_DOMAINS))
    arguments = parser.parse_args()
    earth = SyntheticEarth(seed=0)
    size = {'height': arguments.height, 'width': arguments.width}
    earth.draw(EARTH_DOMAINS['source'], index=0, height=64, width=64)  # makes noise tiles once
    print(f'SyntheticEarth.draw, {size["height"]} x {size["width"]} px, megapixels per second')
    print(f'{"domain":16} {"wall, median":>12} {"IQR":>13} {"CPU, median":>12} {"IQR":>13}')
    for name in arguments.domains:
        wall, busy = [], []
        for index in range(arguments.repeats):
            start = time.perf_counter(), time.process_time()
            earth.draw(EARTH_DOMAINS[name], index=index, **size)
            megapixels = size['height'] * size['width'] / 1e6
            wall.append(megapixels / (time.perf_counter() - start[0]))
            busy.append(megapixels / (time.process_time() - start[1]))
        columns = [name.ljust(16)]
        for rates in (wall, busy):
            low, median, high = np.percentile(rates, (25, 50, 75))
            columns.append(f'{median:12.1f} {f"{low:.1f}-{high:.1f}":>13}')
        print(*columns, flush=True)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kB on Linux
    print(f'peak resident memory {peak_gb:.2f} GB')


if __name__ == '__main__':
    main()
