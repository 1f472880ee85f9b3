// The discrete Fourier transform of one line, by its definition.
#pragma once

#include <complex>
#include <vector>

namespace lathe::op {

// The powers of e^(2 pi i / length), all `length` of them (conjugated for the forward transform).
std::vector<std::complex<double>> unit_roots(int64_t length, bool inverse);

// Sum over n of x[n] root^(k n) for k in [0, count); x has as many elements as there are roots.
std::vector<std::complex<double>> transform(const std::vector<std::complex<double>>& x,
                                            const std::vector<std::complex<double>>& roots, int64_t count);

}  // namespace lathe::op
