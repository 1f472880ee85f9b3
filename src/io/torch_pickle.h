// The pickles that torch.save writes, read without executing anything: plain values, storages and the tensors that are
// views of them.
//
// A pickle is a program for a stack machine that may call any function of Python by its name. Here names stand for
// themselves: a fixed list of them means something (torch_globals.h), every other one is an error.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/byte_reader.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace lathe::io {

enum class PickleKind : uint8_t {
  none,
  boolean,
  integer,
  big_integer,  // of more than 64 bits
  real,
  text,
  tuple,
  list,
  dict,
  set,
  global,   // a name of the list
  storage,  // numbers that lie elsewhere in the file
  tensor,
  other,  // the result of a call that weights have no use for
};

using PickleId = uint32_t;  // place in Pickle::values

struct PickleValue {
  PickleKind kind = PickleKind::none;
  uint32_t index = 0;           // of a global, a storage, a tensor in its table
  int64_t integer = 0;          // of an integer, a boolean
  double real = 0;              // of a real
  std::string_view text;        // of a text; a big integer's bytes, the lowest first
  std::vector<PickleId> items;  // of a tuple, a list; of a dict: key, value, key, value ...
};

// A reference to the numbers of a storage: `elements` from `offset` on, of the storage stored under `key`.
struct PickleStorage {
  tensor::DType dtype = tensor::DType::undefined;
  std::string_view key;
  int64_t elements = 0;
  int64_t offset = 0;
};

struct PickleTensor {
  uint32_t storage = 0;  // place in Pickle::storages
  tensor::DType dtype = tensor::DType::undefined;
  int64_t offset = 0;  // in elements, as are the strides; none are negative
  tensor::Dims dims;
  tensor::Dims strides;
};

// Values are kept in one list and refer to each other by place, so that no nesting is too deep to be freed.
struct Pickle {
  std::vector<PickleValue> values;
  std::vector<PickleStorage> storages;
  std::vector<PickleTensor> tensors;
  PickleId root = 0;

  // Reads up to the pickle's end, and no further. Texts are views into the bytes of `reader`. Throws invalid_input
  // naming the opcode or the global that a checkpoint has no use for, or what is malformed; unsupported for tensors
  // that are no dense array (sparse, quantised).
  static Pickle parse(ByteReader& reader);

  const PickleValue& operator[](PickleId id) const { return values[id]; }
  // The value under a text key of a dict; nullptr where it is no dict or has none.
  const PickleValue* find(const PickleValue& dict, std::string_view key) const;
};

}  // namespace lathe::io
