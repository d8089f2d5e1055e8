"""A StableHLO file of `yolor export`, NMS outside, as a SavedModel; needs jax and tensorflow alone.

python to_savedmodel.py quickstart.zip saved/

The signature takes ``images`` and gives ``boxes`` and ``scores``, as docs/export.md has them; what
the file says of itself is ``metadata``, a string of JSON. At the end both are run and compared.
"""

import json
import sys
import zipfile

import jax
import numpy as np
import tensorflow as tf
from jax.experimental import jax2tf

source, target = sys.argv[1:]
with zipfile.ZipFile(source) as file:
    about = json.loads(file.read("metadata.json"))
    network, decode = (
        jax.export.deserialize(bytearray(file.read(name))) for name in ("network.bin", "decode.bin")
    )


def find(images):
    """The decoded boxes and scores of a batch."""
    boxes, scores = decode.call(network.call(images))
    return {"boxes": boxes, "scores": scores}


dynamic = about["batch"] == "dynamic"
height, width = about["image_size"]
sides = (height, width, 3) if about["layout"] == "nhwc" else (3, height, width)
saved = tf.Module()
saved.metadata = tf.constant(json.dumps(about))
saved.find = tf.function(
    jax2tf.convert(
        find,
        polymorphic_shapes=["(batch, ...)"] if dynamic else None,
        with_gradient=False,
        native_serialization_platforms=("cpu", "cuda", "tpu"),
    ),
    autograph=False,
    input_signature=[
        tf.TensorSpec([None if dynamic else about["batch"], *sides], about["pixels"], "images")
    ],
)
tf.saved_model.save(saved, target, signatures=saved.find)

reloaded = tf.saved_model.load(target).signatures["serving_default"]
noise = np.random.default_rng(0).integers(0, 256, [2 if dynamic else about["batch"], *sides])
images = noise.astype(about["pixels"]) if about["pixels"] == "uint8" else np.float32(noise / 255)
theirs = reloaded(images=tf.constant(images))
for name, ours in find(images).items():
    print(f"{name} differ by at most {np.abs(theirs[name].numpy() - ours).max():.1e}")
