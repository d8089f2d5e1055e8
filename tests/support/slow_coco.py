"""COCO's protocol at IoU 0.5 by plain loops, as its description has it: a slow reference."""

import numpy as np


def iou(detection, annotation):
    """Of two boxes; with a crowd, the share of the detection that lies in it."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = detection["bbox"], annotation["bbox"]
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    both = max(width, 0) * max(height, 0)
    return both / (aw * ah if annotation.get("iscrowd") else aw * ah + bw * bh - both)


def match(ground_truth, results):
    """A list of (detection, its annotation or None), by falling score; without excused ones."""
    places = {id(result): i for i, result in enumerate(results)}
    pairs, taken = [], []
    for image in ground_truth["images"]:
        for category in ground_truth["categories"]:
            here = {"image_id": image["id"], "category_id": category["id"]}
            annotations = [a for a in ground_truth["annotations"] if here.items() <= a.items()]
            annotations.sort(key=lambda a: a.get("iscrowd", 0))
            detections = [r for r in results if here.items() <= r.items()]
            for detection in sorted(detections, key=lambda r: -r["score"])[:100]:
                best, least = None, 0.5
                for annotation in annotations:
                    crowd = annotation.get("iscrowd", 0)
                    if any(annotation is t for t in taken) and not crowd:
                        continue
                    if best is not None and not best.get("iscrowd", 0) and crowd:
                        break
                    if iou(detection, annotation) >= least:
                        best, least = annotation, iou(detection, annotation)
                if best is not None:
                    taken.append(best)
                if best is None or not best.get("iscrowd", 0):
                    pairs.append((detection, best))
    return sorted(
        pairs, key=lambda pair: (-pair[0]["score"], pair[0]["image_id"], places[id(pair[0])])
    )


def average_precision(right, objects):
    """Of one class: whether each detection is right, by falling score."""
    total = 0.0
    for recall in np.linspace(0, 1, 101):
        precisions = [
            sum(right[:n]) / n
            for n in range(1, len(right) + 1)
            if sum(right[:n]) / objects >= recall
        ]
        total += max(precisions, default=0.0)
    return total / 101


def ap50(rows, objects):
    """The mean over classes of (category, right) by falling score and {category: objects}."""
    values = [
        average_precision([right for k, right in rows if k == category], count)
        for category, count in objects.items()
        if count
    ]
    return float(np.mean(values)) if values else None
