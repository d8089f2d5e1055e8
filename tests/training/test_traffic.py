"""Bytes moved, of the text of a program whose traffic is worked out by hand."""

import pytest

from yolor_jax.training.programs.traffic import Traffic, count_traffic, least_traffic

HLO = """HloModule jit_step

%region_0 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %add.1 = f32[]{:T(128)} add(%a, %b)
}

%fused_conv (p0: bf16[2,8,8,4], p1: bf16[3,3,4,16]) -> bf16[2,8,8,16] {
  %p0 = bf16[2,8,8,4]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %p1 = bf16[3,3,4,16]{3,2,1,0:T(8,128)(2,1)} parameter(1)
  ROOT %conv = bf16[2,8,8,16]{3,2,1,0:T(8,128)(2,1)} convolution(%p0, %p1), window={size=3x3}
}

%fused_cast (p.2: bf16[2,8,8,16]) -> f32[2,8,8,16] {
  %p.2 = bf16[2,8,8,16]{3,2,1,0} parameter(0)
  ROOT %cast = f32[2,8,8,16]{3,2,1,0} convert(%p.2)
}

ENTRY %main (x: bf16[2,8,8,4], w: bf16[3,3,4,16]) -> f32[] {
  %x = bf16[2,8,8,4]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %w = bf16[3,3,4,16]{3,2,1,0:T(8,128)(2,1)} parameter(1)
  %copy-start = (bf16[3,3,4,16]{3,2,1,0:S(1)}, bf16[3,3,4,16]{3,2,1,0}, u32[]) copy-start(%w)
  %copy-done = bf16[3,3,4,16]{3,2,1,0:T(8,128)S(1)} copy-done(%copy-start)
  %y = bf16[2,8,8,16]{3,2,1,0:T(8,128)} fusion(%x, %copy-done), kind=kOutput, calls=%fused_conv
  %z = f32[2,8,8,16]{3,2,1,0:T(8,128)S(1)} fusion(%y), kind=kLoop, calls=%fused_cast
  %zero = f32[]{:T(128)} constant(0)
  ROOT %sum = f32[]{:T(128)} reduce(%z, %zero), dimensions={0,1,2,3}, to_apply=%region_0
}
"""

X, W, Y = (2 * n for n in (2 * 8 * 8 * 4, 3 * 3 * 4 * 16, 2 * 8 * 8 * 16))


@pytest.mark.parametrize("memory", ["S(1)", "S(3)"])  # vector memory; the 128 MiB of a v4
def test_what_lies_on_the_chip_costs_nothing_and_what_is_brought_there_does(memory):
    hlo = HLO.replace("S(1)", memory)
    assert count_traffic(hlo) == {
        "convolution": Traffic(1, X + Y),
        "layout": Traffic(1, Y),
        "staging": Traffic(1, W),
        "reduce": Traffic(1, 4 + 4),
    }
    assert [*count_traffic(hlo)] == ["convolution", "layout", "staging", "reduce"]
    assert count_traffic("") == {}


def test_the_least_is_each_array_of_a_convolution_once():
    assert least_traffic(HLO) == X + W + Y
