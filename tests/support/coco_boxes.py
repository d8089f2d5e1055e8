"""Ground truth and detections in COCO's format: by hand, drawn, and jittered from real ones."""

import numpy as np


def box(image_id, bbox, category_id=1, **more):
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, **more}


def truth(*annotations, images=(7,)):
    return {
        "images": [{"id": i} for i in images],
        "categories": [{"id": 1, "name": "a"}, {"id": 3, "name": "b"}],
        "annotations": list(annotations),
    }


def noisy_detections(ground_truth):
    """Jittered ground truth of six images in seven, wrong classes, doubles and random boxes."""
    rng = np.random.default_rng(0)
    images = {image["id"]: image for image in ground_truth["images"]}
    categories = [category["id"] for category in ground_truth["categories"]]
    results = []
    for annotation in ground_truth["annotations"]:
        if annotation["image_id"] % 7 == 0:
            continue
        for _ in range(rng.integers(0, 3)):
            jittered = np.array(annotation["bbox"]) + rng.normal(0, 4, 4)
            category_id = annotation["category_id"]
            if rng.random() < 0.1:
                category_id = int(rng.choice(categories))
            bbox = [float(v) for v in np.maximum(jittered, 1)]
            score = round(float(rng.random()), 2)  # two decimals: many ties
            results.append(box(annotation["image_id"], bbox, category_id, score=score))
    for image in images.values():
        if image["id"] % 7 == 0:
            continue  # nothing at all
        for _ in range(4):
            x, y = rng.uniform(0, [image["width"], image["height"]])
            bbox = [float(x), float(y), *(float(v) for v in rng.uniform(5, 200, 2))]
            category_id = int(rng.choice(categories[:5]))
            results.append(box(image["id"], bbox, category_id, score=float(rng.random())))
    return results


def random_case(seed, *, images=6, classes=3):
    """Objects, crowds, detections moved away from them or of another class, and others anywhere.

    All on a coarse grid, with few different scores, so that there are ties of scores and IoUs. One
    image and one class have nothing.
    """
    rng = np.random.default_rng(seed)

    def anywhere():
        bbox = [*rng.integers(0, 20, 2) * 4.0, *rng.integers(3, 10, 2) * 4.0]
        return int(rng.integers(images)), [float(v) for v in bbox], int(rng.integers(classes))

    annotations = [box(*anywhere(), iscrowd=int(rng.random() < 0.15)) for _ in range(30)]
    results = []
    for annotation in annotations[:25]:
        for _ in range(rng.integers(0, 4)):
            moved = np.array(annotation["bbox"]) + rng.integers(-2, 3, 4) * 4.0
            bbox = [float(v) for v in np.maximum(moved, 4)]
            other = rng.random() < 0.3
            label = int(rng.integers(classes)) if other else annotation["category_id"]
            results.append(box(annotation["image_id"], bbox, label))
    results += [box(*anywhere()) for _ in range(30)]
    results = [{**row, "score": float(rng.integers(0, 21) / 20)} for row in results]
    ground_truth = {
        "images": [{"id": i, "width": 96, "height": 80} for i in range(images + 1)],
        "categories": [{"id": k, "name": f"class {k}"} for k in range(classes + 1)],
        "annotations": annotations,
    }
    return ground_truth, results


def one_of_each_kind():
    """Each kind of error once (twice missed), in an image of its own; two right detections.

    Class a has five objects, by score its detections are right, a duplicate, an error of
    localisation, in the background, of both kinds, and right; class b has one object and one
    detection, which is of an object of class a.
    """
    there, half, away = [0, 0, 30, 30], [0, 0, 30, 10], [200, 200, 30, 30]
    ground_truth = truth(
        *(box(image, there) for image in (1, 2, 3, 4)),
        box(5, there, 3),
        box(6, there),
        images=range(1, 8),
    )
    results = [
        box(1, there, score=0.9),
        box(1, there, score=0.8),
        box(2, half, score=0.7),
        box(3, there, 3, score=0.6),
        box(4, away, score=0.5),
        box(5, half, score=0.4),
        box(6, there, score=0.3),
    ]
    return ground_truth, results
