#include "pipeline/diffuse/torch_math.h"

#include <cmath>

namespace lathe::pipeline {

float torch_log(float x) {
  int binary = 0;
  float m = std::frexp(x, &binary);  // 0.5 to 1
  auto exponent = float(binary);
  const bool small = m < 0.707106781186547524f;
  const float half = m;
  m -= 1.0f;
  if (small) {  // from sqrt(0.5) to sqrt(2), around 1
    exponent -= 1.0f;
    m += half;
  }
  constexpr float kP[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,  -1.2420140846e-1f, 1.4249322787e-1f,
                          -1.6668057665e-1f, 2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
  const float square = m * m;
  float y = kP[0];
  for (int i = 1; i < 9; ++i) y = std::fma(y, m, kP[i]);
  y *= m;
  // log(2) in two parts, the larger with few bits
  y = std::fma(y, square, exponent * -2.12194440e-4f);
  y = std::fma(square, -0.5f, y);
  return std::fma(exponent, 0.693359375f, m + y);
}

SineCosine torch_sincos(float angle) {
  // The octant, made even; what is left is within an eighth of a turn around a quarter's multiple.
  const unsigned octant = (unsigned(angle * 1.27323954473516f) + 1u) & ~1u;
  const auto count = float(octant);
  // pi / 4 in three parts
  float x = std::fma(count, -0.78515625f, angle);
  x = std::fma(count, -2.4187564849853515625e-4f, x);
  x = std::fma(count, -3.77489497744594108e-8f, x);
  const float z = x * x;

  float c = 2.443315711809948e-5f;
  c = std::fma(c, z, -1.388731625493765e-3f);
  c = std::fma(c, z, 4.166664568298827e-2f);
  c *= z;
  c = std::fma(c, z, -(z * 0.5f)) + 1.0f;

  float s = -1.9515295891e-4f;
  s = std::fma(s, z, 8.3321608736e-3f);
  s = std::fma(s, z, -1.6666654611e-1f);
  s *= z;
  s = std::fma(s, x, x);

  const bool swapped = octant & 2u;
  const float sine = swapped ? c : s, cosine = swapped ? s : c;
  return {octant & 4u ? -sine : sine, (octant + 2u) & 4u ? -cosine : cosine};
}

}  // namespace lathe::pipeline
