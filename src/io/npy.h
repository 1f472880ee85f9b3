// NumPy's .npy files, versions 1 to 3, C order, little endian.
//
// Types: f2 f4 f8, i1 to i8, u1 to u8, b1, c8 c16. Everything else is unsupported: Fortran order (but where
// it is the same), big endian, structures, objects, strings. Malformed files are invalid_input.
#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "tensor/tensor.h"

namespace lathe::io {

// The whole array, copied.
tensor::Tensor read_npy(const std::filesystem::path& path);
// The same from bytes in memory.
tensor::Tensor parse_npy(std::span<const std::byte> bytes);

// All or nothing; version 1. Throws unsupported for dtypes that NumPy lacks (bf16, 8-bit and 4-bit types,
// strings).
void write_npy(const std::filesystem::path& path, const tensor::Tensor& tensor);

}  // namespace lathe::io
