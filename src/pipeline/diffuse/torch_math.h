// Logarithm, sine and cosine in float32 with the last places that torch's vectorised random normals have.
//
// torch evaluates the polynomials of Cephes (S. Moshier), and its compiler fuses a product with the addition that
// follows it; std::fma says where.
#pragma once

namespace lathe::pipeline {

// Of a number above 0 that is not denormal.
float torch_log(float x);

struct SineCosine {
  float sine;
  float cosine;
};
// Of an angle from 0 to some thousand.
SineCosine torch_sincos(float angle);

}  // namespace lathe::pipeline
