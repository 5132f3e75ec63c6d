// Rows of x as signed bytes: of each block of 32 its scale and scale * (sum of its codes), which offsets and minima of
// weights are multiplied with, as dot(d * code - m, x) = d * dot(code, x) - m * sum(x).
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer Scales { vec2 at[]; };
