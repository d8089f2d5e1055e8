"""One data set in every format that is read: what is prepared of each must be the same.

A data set is COCO's JSON and the bytes of each image, by split: `pictures` takes some of the real
ones, with boxes on whole pixels as a rule, which every format can say. The writers leave out what
their format cannot say: give them a data set without it.
"""

import json
import pathlib
import xml.etree.ElementTree as ElementTree

from pycocotools import mask

SPLITS = {"train": "train2017", "val": "val2017"}


def pictures(shared, count, *, rounded=True):
    """The first images of each split, classes in sorted order, boxes `rounded` to whole pixels."""
    folder = pathlib.Path(shared) / "data" / "coco128"
    found = {}
    for split, stored in SPLITS.items():
        coco = json.loads((folder / "annotations" / f"instances_{stored}.json").read_text())
        coco["images"] = sorted(coco["images"], key=lambda image: image["file_name"])[:count]
        read = {i["file_name"]: (folder / stored / i["file_name"]) for i in coco["images"]}
        found[split] = coco, {name: path.read_bytes() for name, path in read.items()}
    names = {c["id"]: c["name"] for c in next(iter(found.values()))[0]["categories"]}
    images = {s: {i["id"]: i for i in coco["images"]} for s, (coco, _) in found.items()}
    objects = {
        s: [a for a in coco["annotations"] if a["image_id"] in images[s]]
        for s, (coco, _) in found.items()
    }
    used = sorted({names[a["category_id"]] for entries in objects.values() for a in entries})
    for split, (coco, _) in found.items():
        coco["categories"] = [{"id": i + 1, "name": name} for i, name in enumerate(used)]
        order = {number: position for position, number in enumerate(images[split])}
        coco["annotations"] = [
            {
                "id": number,
                "image_id": a["image_id"],
                "category_id": used.index(names[a["category_id"]]) + 1,
                "bbox": (
                    whole_pixels(a["bbox"], images[split][a["image_id"]]) if rounded else a["bbox"]
                ),
                "iscrowd": a["iscrowd"],
            }
            for number, a in enumerate(
                sorted(objects[split], key=lambda a: order[a["image_id"]]), 1
            )
        ]
    return found


def whole_pixels(box, image):
    """The box of the pixels that another one touches."""
    left, top = (int(v) for v in box[:2])
    right = min(int(box[0] + box[2]) + 1, image["width"])
    bottom = min(int(box[1] + box[3]) + 1, image["height"])
    return [left, top, right - left, bottom - top]


def without_crowds(data):
    """The same data set with single objects only."""
    return {
        split: ({**coco, "annotations": [{**a, "iscrowd": 0} for a in coco["annotations"]]}, images)
        for split, (coco, images) in data.items()
    }


def objects_by_image(coco):
    return {
        image["id"]: [a for a in coco["annotations"] if a["image_id"] == image["id"]]
        for image in coco["images"]
    }


def write_images(folder, images):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in images.items():
        (folder / name).write_bytes(data)


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_coco(folder, data):
    for split, (coco, images) in data.items():
        write_images(folder / split, images)
        write_text(folder / "annotations" / f"instances_{split}.json", json.dumps(coco))
    return folder


def yolo_line(annotation, image, segment=False):
    """A line of YOLO's labels, in all digits of a float."""
    left, top, width, height = annotation["bbox"]
    if segment:
        right, bottom = left + width, top + height
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
        values = [v for x, y in points for v in (x / image["width"], y / image["height"])]
    else:
        x, y = (left + width / 2) / image["width"], (top + height / 2) / image["height"]
        values = [x, y, width / image["width"], height / image["height"]]
    return " ".join([str(annotation["category_id"] - 1), *map(repr, values)])


def write_yolo(folder, data, *, by_split=False, segment=False, listed=False):
    """As Ultralytics (images/train) or, `by_split`, as Roboflow (train/images) has it."""
    names = [c["name"] for c in data["train"][0]["categories"]]
    lines = ["names:", *(f"  {i}: {json.dumps(name)}" for i, name in enumerate(names))]
    if by_split:
        lines = [f"nc: {len(names)}", f"names: {json.dumps(names)}"]
    for split, (coco, images) in data.items():
        inside = f"{split}/images" if by_split else f"images/{split}"
        write_images(folder / inside, images)
        for image in coco["images"]:
            entries = objects_by_image(coco)[image["id"]]
            name = pathlib.Path(image["file_name"]).with_suffix(".txt")
            text = "".join(f"{yolo_line(a, image, segment)}\n" for a in entries)
            write_text(folder / inside.replace("images", "labels") / name, text)
        if listed:
            paths = [f"./{inside}/{image['file_name']}\n" for image in coco["images"]]
            write_text(folder / f"{split}.txt", "".join(paths))
            inside = f"{split}.txt"
        lines.append(f"{split}: {'../' if by_split else ''}{inside}")
    write_text(folder / "data.yaml", "\n".join(lines))
    return folder


def voc_xml(image, objects, names):
    """A file of VOC: pixels counted from 1, the last one included."""
    root = ElementTree.Element("annotation")
    size = ElementTree.SubElement(root, "size")
    for side in ("width", "height"):
        ElementTree.SubElement(size, side).text = str(image[side])
    for annotation in objects:
        left, top, width, height = annotation["bbox"]
        element = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(element, "name").text = names[annotation["category_id"]]
        ElementTree.SubElement(element, "difficult").text = str(annotation["iscrowd"])
        box = ElementTree.SubElement(element, "bndbox")
        sides = {"xmin": left + 1, "ymin": top + 1, "xmax": left + width, "ymax": top + height}
        for side, value in sides.items():
            ElementTree.SubElement(box, side).text = str(value)
    return ElementTree.tostring(root, encoding="unicode")


def write_voc(folder, data, *, by_split=False):
    """As VOC's development kit or, `by_split`, as Roboflow has it."""
    for split, (coco, images) in data.items():
        names = {c["id"]: c["name"] for c in coco["categories"]}
        write_images(folder / (split if by_split else "JPEGImages"), images)
        for image in coco["images"]:
            text = voc_xml(image, objects_by_image(coco)[image["id"]], names)
            name = pathlib.Path(image["file_name"]).with_suffix(".xml")
            write_text(folder / (split if by_split else "Annotations") / name, text)
        if not by_split:
            stems = [pathlib.Path(image["file_name"]).stem for image in coco["images"]]
            write_text(folder / "ImageSets" / "Main" / f"{split}.txt", "\n".join(stems))
    return folder


def write_roboflow(folder, data):
    """COCO with a super-category of number 0."""
    for split, (coco, images) in data.items():
        write_images(folder / split, images)
        things = {"id": 0, "name": "things", "supercategory": "none"}
        categories = [things, *({**c, "supercategory": "things"} for c in coco["categories"])]
        text = json.dumps({**coco, "categories": categories})
        write_text(folder / split / "_annotations.coco.json", text)
    return folder


def write_cvat(folder, data):
    """COCO of CVAT: file names with a folder, in images/SPLIT or all in images/."""
    for split, (coco, images) in data.items():
        write_images(folder / "images", images)
        write_text(folder / "annotations" / f"instances_{split}.json", json.dumps(coco))
    return folder


def write_label_studio(folder, data):
    """One split, with file names of the machine that wrote it."""
    coco, images = data["train"]
    write_images(folder / "images" / "my project", images)
    prefixes = ["/data/upload/3/", "images/my%20project/", "C:\\Users\\me\\my project\\", ""]
    named = [
        {**image, "file_name": prefixes[i % 4] + image["file_name"]}
        for i, image in enumerate(coco["images"])
    ]
    write_text(folder / "result.json", json.dumps({**coco, "images": named}))
    return folder


def rectangle_runs(box, image):
    """The runs of a box, from the library of COCO."""
    (left, top, width, height), rows = box, image["height"]
    counts, end = [], 0
    for column in range(left, left + width):
        counts += [column * rows + top - end, height]
        end = column * rows + top + height
    counts.append(rows * image["width"] - end)
    return {"size": [rows, image["width"]], "counts": counts}


def write_segmented(folder, data):
    """COCO without boxes: polygons, runs and packed runs in turn."""
    for split, (coco, images) in data.items():
        write_images(folder / split, images)
        sizes = {image["id"]: image for image in coco["images"]}
        entries = []
        for a in coco["annotations"]:
            left, top, width, height = a["bbox"]
            right, bottom = left + width, top + height
            runs = rectangle_runs(a["bbox"], sizes[a["image_id"]])
            packed = mask.frPyObjects(runs, *runs["size"])
            shapes = [
                [[left, top, right, top, right, bottom, left, bottom]],
                runs,
                {"size": runs["size"], "counts": packed["counts"].decode()},
            ]
            bare = {key: value for key, value in a.items() if key != "bbox"}
            entries.append({**bare, "segmentation": shapes[a["id"] % 3]})
        text = json.dumps({**coco, "annotations": entries})
        write_text(folder / "annotations" / f"instances_{split}.json", text)
    return folder
