"""Memory, operations and collectives of programs whose costs are worked out by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from yolor_jax.training import mesh as meshes
from yolor_jax.training.programs.cost import Collectives, Memory, count_collectives, count_flops

HLO = """
  %all-reduce = f32[8]{0:T(128)S(1)} all-reduce(%get-tuple-element.2), channel_id=1
  %fusion.8 = (f32[8]{0:T(128)}, f32[8]{0:T(128)S(1)}) fusion(%all-reduce, %param.9), kind=kLoop
  ROOT %all-reduce.1 = (bf16[4,2]{1,0:T(8,128)(2,1)}, f32[]{:T(128)}) all-reduce(%a, %b)
  %all-gather-start = (f32[2,3]{1,0}, f32[8,3]{1,0}) all-gather-start(%p), dimensions={0}
  %all-gather-done = f32[8,3]{1,0} all-gather-done(%all-gather-start)
  %reduce-scatter.7 = s8[16]{0} reduce-scatter(%q), dimensions={0}
  %collective-permute = pred[5]{0} collective-permute(%r), channel_id=9
  %scaled = f8e4m3fn[7]{0} all-to-all(%s), channel_id=11
"""


def test_collectives_of_a_text():
    assert count_collectives(HLO) == {
        "all-reduce": Collectives(2, 8 * 4 + (8 * 2 + 4)),
        "all-gather": Collectives(1, 24 * 4),
        "reduce-scatter": Collectives(1, 16),
        "all-to-all": Collectives(1, 7),
        "collective-permute": Collectives(1, 5),
    }
    assert count_collectives("") == {}


def test_memory_flops_and_collectives_of_a_matrix_product():
    """[8, 16] by [16, 4], cut over the inner axis: each device has a part of the sum."""
    mesh = meshes.make_mesh()
    cut = [PartitionSpec(None, meshes.AXES), PartitionSpec(meshes.AXES, None)]
    cut = [jax.sharding.NamedSharding(mesh, spec) for spec in cut]
    shapes = [
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)
        for shape, sharding in zip([(8, 16), (16, 4)], cut, strict=True)
    ]
    product = jax.jit(jnp.matmul, out_shardings=meshes.replicated(mesh))
    lowered = product.lower(*shapes)
    assert count_flops(lowered) == pytest.approx(2 * 8 * 16 * 4, rel=0.01)
    compiled = lowered.compile()
    assert count_collectives(compiled.as_text()) == {"all-reduce": Collectives(1, 8 * 4 * 4)}
    memory = Memory.of(compiled)
    assert (memory.arguments, memory.outputs) == (4 * (8 * 2 + 2 * 4), 4 * 8 * 4)


def test_what_is_donated_counts_once():
    x = jax.ShapeDtypeStruct((1000,), jnp.float32)
    kept, donated = (
        Memory.of(jax.jit(lambda x: x + 1.0, donate_argnums=argnums).lower(x).compile())
        for argnums in ((), (0,))
    )
    assert (kept.aliased, donated.aliased) == (0, 4000)
    assert kept.total - donated.total == 4000


def test_a_program_for_a_tpu_has_no_count():
    class Lowered(jax.stages.Lowered):
        def __init__(self):
            pass

        def cost_analysis(self):
            return {}

    with pytest.raises(ValueError, match="expected one lowered for CPU"):
        count_flops(Lowered())
