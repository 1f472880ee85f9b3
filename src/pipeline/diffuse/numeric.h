// The array functions of numpy, scipy and torch that schedules are made with, rounded as those round.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lathe::pipeline {

// numpy.linspace, in double.
std::vector<double> linspace(double start, double stop, size_t count);
// torch.linspace in float32: from both ends to the middle, each with one rounding.
std::vector<float> linspace_float(double start, double stop, size_t count);
// numpy.arange(start, 0, -step): start, start - step ... above 0.
std::vector<double> arange_down(double start, double step);
// numpy.interp over the places 0, 1 ... of the table; outside of it the end's value.
double interpolate(double at, std::span<const float> table);
// numpy.log of a float32 with AVX2 or AVX-512: a ratio of polynomials, up to 3 last places from the logarithm.
float numpy_log(float x);
// torch.lerp with weight 0.5.
float middle(float a, float b);
// x with I_x(a, a) = p, the quantile of the symmetric beta distribution (scipy.stats.beta.ppf).
double beta_quantile(double p, double a);
// Solves matrix * x = right for matrices of up to a few rows, by elimination with pivots. `matrix` is row by row.
std::vector<float> solve(std::vector<double> matrix, std::vector<double> right);

}  // namespace lathe::pipeline
