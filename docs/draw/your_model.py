"""What `predict_scene` gives a model, what it takes from it, and what it makes of that."""

from pathlib import Path

from _diagram import Diagram

OUTPUTS = (  # what a model may give, and how it becomes a class
    ("'logits'\n(b, k, h, w)", 'softmax, mean,\nlargest'),
    ("'probabilities'\n(b, k, h, w)", 'mean, largest'),
    ("'logit'\n(b, 1, h, w)", 'sigmoid, mean,\nthreshold'),
    ("'probability'\n(b, 1, h, w)", 'mean, threshold'),
    ("'ids'\n(b, h, w)", 'vote'),
)


def draw(folder: Path) -> None:
    """Write `your_model-contract.svg`."""
    sheet = Diagram(4.6, 5.9)
    scene = sheet.box((0.9, 0.1, 2.8, 0.46), 'scene.tif, cut into windows', 'data')
    images = sheet.box(
        (0.9, 0.9, 2.8, 0.64), 'images (b, c, h, w), float32\nin [0, 1], or by mean and std', 'data'
    )
    model = sheet.box((0.9, 1.88, 2.8, 0.44), 'your model', 'trained', bold=True)
    sheet.arrow(scene.bottom, images.top)
    sheet.arrow(images.bottom, model.top)
    sheet.text((0.1, 2.72), 'ModelOutput says which of these it gives:', size=9.5, ha='left')
    for row, (given, made) in enumerate(OUTPUTS):
        y = 2.9 + 0.46 * row
        output = sheet.box((0.1, y, 2.1, 0.41), given, 'data', size=9)
        rule = sheet.box((2.5, y, 2.0, 0.41), made, 'plain', size=9)
        sheet.arrow(output.right, rule.left)
    sheet.arrow((2.3, 2.32), (2.3, 2.62))
    sheet.box((0.9, 5.42, 2.8, 0.38), 'map.tif: one class per pixel', 'loss')
    sheet.arrow((3.5, 5.15), (3.5, 5.42))
    sheet.save(folder / 'your_model-contract.svg')
