"""Who does what while a method trains, and what happens to each part of it."""

from pathlib import Path

from _diagram import Diagram

ROLES = (  # declaration, role, and where the part is found
    ('requires_grad', 'trains', 'in the optimiser,\nin checkpoints', 'trained'),
    ('named in `kept`', 'kept', 'changed by after_step,\nin checkpoints', 'loss'),
    ('all other parts', 'pretrained', 'changed by nothing,\nchecked on resuming', 'frozen'),
)


def draw(folder: Path) -> None:
    """Write `your_method-contract.svg`."""
    sheet = Diagram(4.6, 5.6)
    sheet.text((1.1, 0.15), 'the library', bold=True)
    sheet.text((3.5, 0.15), 'your method', bold=True)
    batch = sheet.box((0.1, 0.35, 2.0, 0.66), 'ShiftDataModule:\nimage, mask, domain', 'data')
    losses = sheet.box((2.5, 0.35, 2.0, 0.66), 'losses(batch)', 'trained', bold=True)
    sheet.arrow(batch.right, losses.left)
    engine = sheet.box(
        (0.1, 1.35, 2.0, 1.1),
        'TrainingTask:\nsum the terms, log them,\ngradients, precision,\noptimiser step',
        'data',
        size=9,
    )
    terms = sheet.box((2.5, 1.35, 2.0, 0.5), 'terms by name\n{loss_ce: …, loss_mine: …}', size=9)
    after = sheet.box((2.5, 1.99, 2.0, 0.46), 'after_step()', 'trained', bold=True)
    sheet.arrow(losses.bottom, terms.top)
    sheet.arrow(terms.left, (2.1, terms.left[1]))
    sheet.arrow((2.1, after.left[1]), after.left)
    scoring = sheet.box((0.1, 2.8, 2.0, 0.66), 'validation, test,\nmodel.safetensors', 'data')
    scored = sheet.box((2.5, 2.8, 2.0, 0.66), 'scored:\nmodel, or a teacher', 'trained')
    sheet.arrow(engine.bottom, scoring.top)
    sheet.arrow(scored.left, scoring.right)
    sheet.text((0.1, 3.8), 'What becomes of each part of a method:', bold=True, ha='left')
    for row, (declared, role, where, kind) in enumerate(ROLES):
        y = 4.0 + 0.52 * row
        sheet.text((0.1, y + 0.22), declared.replace('`', ''), size=9, ha='left')
        sheet.box((1.38, y, 1.1, 0.44), role, kind, bold=True)
        sheet.text((2.6, y + 0.22), where, size=9, ha='left')
    sheet.save(folder / 'your_method-contract.svg')
