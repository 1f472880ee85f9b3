#include "io/npy.h"

#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/checked.h"
#include "base/file.h"

namespace lathe::io {
namespace {

using tensor::DType;

constexpr std::string_view kMagic = "\x93NUMPY";

struct Descriptor {
  std::string_view name;  // without byte order
  DType dtype;
};
constexpr std::array kDescriptors = std::to_array<Descriptor>({
    {"f2", DType::f16},
    {"f4", DType::f32},
    {"f8", DType::f64},
    {"i1", DType::i8},
    {"i2", DType::i16},
    {"i4", DType::i32},
    {"i8", DType::i64},
    {"u1", DType::u8},
    {"u2", DType::u16},
    {"u4", DType::u32},
    {"u8", DType::u64},
    {"b1", DType::boolean},
    {"c8", DType::c64},
    {"c16", DType::c128},
});

DType dtype_of_descriptor(std::string_view descriptor) {
  const bool big_endian = descriptor.starts_with('>');
  if (!descriptor.empty() && std::string_view("<>=|").find(descriptor[0]) != std::string_view::npos) {
    for (const Descriptor& entry : kDescriptors) {
      if (descriptor.substr(1) == entry.name && (!big_endian || tensor::bits(entry.dtype) == 8))
        return entry.dtype;
    }
  }
  fail(ErrorCode::unsupported, "npy type '{}' is not supported", descriptor);
}

struct Header {
  std::optional<std::string_view> descriptor;
  std::optional<bool> fortran_order;
  std::optional<tensor::Dims> shape;
};

// Reads the header's Python literal: a dict with string keys whose values are a string, a bool, or a tuple of
// numbers. Anything else is refused.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : text_(text) {}

  Header read() {
    Header header;
    expect('{');
    while (!skip('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr" && !header.descriptor) {
        if (peek() != '\'' && peek() != '"') fail(ErrorCode::unsupported, "npy structures are not supported");
        header.descriptor = quoted();
      } else if (key == "fortran_order" && !header.fortran_order) {
        header.fortran_order = boolean();
      } else if (key == "shape" && !header.shape) {
        header.shape = tuple();
      } else {
        fail(ErrorCode::invalid_input, "npy header: unexpected key \"{}\"", key);
      }
      if (!skip(',')) {
        expect('}');
        break;
      }
    }
    blanks();
    if (at_ != text_.size()) unexpected("the end");
    return header;
  }

 private:
  void blanks() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
      ++at_;
  }
  char peek() {
    blanks();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool skip(char wanted) {
    if (peek() != wanted || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!skip(wanted)) unexpected(std::string_view(&wanted, 1));
  }
  [[noreturn]] void unexpected(std::string_view wanted) const {
    fail(ErrorCode::invalid_input, "npy header: expected {} at byte {} of {}", wanted, at_, text_.size());
  }
  std::string_view quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') unexpected("a string");
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) unexpected("a closing quote");
    const std::string_view value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    blanks();
    for (const bool value : {false, true}) {
      const std::string_view name = value ? "True" : "False";
      if (text_.substr(at_).starts_with(name)) {
        at_ += name.size();
        return value;
      }
    }
    unexpected("True or False");
  }
  tensor::Dims tuple() {
    tensor::Dims dims;
    expect('(');
    while (!skip(')')) {
      blanks();
      int64_t dim = 0;
      const auto [rest, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), dim);
      if (error != std::errc{} || dim < 0) unexpected("a dimension");
      at_ = size_t(rest - text_.data());
      skip('L');  // written by Python 2
      dims.push_back(dim);
      if (!skip(',')) {
        expect(')');
        break;
      }
    }
    return dims;
  }

  std::string_view text_;
  size_t at_ = 0;
};

// Whether the array lies the same in both orders: at most one dimension is longer than 1.
bool order_is_irrelevant(const tensor::Dims& dims) {
  int long_dims = 0;
  for (const int64_t dim : dims) {
    if (dim == 0) return true;
    if (dim > 1) ++long_dims;
  }
  return long_dims <= 1;
}

}  // namespace

tensor::Tensor parse_npy(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic) || text.size() < 10) fail(ErrorCode::invalid_input, "not an npy file");
  const int major = uint8_t(text[6]);
  if (major < 1 || major > 3) fail(ErrorCode::unsupported, "npy version {} is not supported", major);
  const size_t length_bytes = major == 1 ? 2 : 4;
  const size_t header_begin = 8 + length_bytes;
  if (text.size() < header_begin) fail(ErrorCode::invalid_input, "npy file ends in its header");
  uint32_t length = 0;
  std::memcpy(&length, text.data() + 8, length_bytes);
  if (length > text.size() - header_begin) {
    fail(ErrorCode::invalid_input, "npy header of {} bytes, but {} are left", length,
         text.size() - header_begin);
  }
  const Header header = HeaderReader(text.substr(header_begin, length)).read();
  if (!header.descriptor || !header.fortran_order || !header.shape) {
    fail(ErrorCode::invalid_input, "npy header lacks descr, fortran_order or shape");
  }
  const DType dtype = dtype_of_descriptor(*header.descriptor);
  if (*header.fortran_order && !order_is_irrelevant(*header.shape)) {
    fail(ErrorCode::unsupported, "npy arrays in Fortran order are not supported");
  }
  const std::span<const std::byte> data = bytes.subspan(header_begin + length);
  const size_t size = tensor::byte_size(dtype, tensor::element_count(*header.shape));
  if (size != data.size()) {
    fail(ErrorCode::invalid_input, "npy {}{} needs {} bytes, found {}", tensor::to_string(dtype),
         tensor::to_string(std::span<const int64_t>(*header.shape)), size, data.size());
  }
  tensor::Tensor result(dtype, *header.shape);
  if (size > 0) std::memcpy(result.mutable_bytes().data(), data.data(), size);
  if (dtype == DType::boolean) {  // any other byte would be undefined behaviour as a bool
    for (std::byte& value : result.mutable_bytes()) value = std::byte(value != std::byte{0});
  }
  return result;
}

tensor::Tensor read_npy(const std::filesystem::path& path) {
  const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  return with_context(path.string(), [&] { return parse_npy(file->bytes()); });
}

void write_npy(const std::filesystem::path& path, const tensor::Tensor& tensor) {
  const Descriptor* descriptor = nullptr;
  for (const Descriptor& entry : kDescriptors) {
    if (entry.dtype == tensor.dtype()) descriptor = &entry;
  }
  if (!descriptor) fail(ErrorCode::unsupported, "npy has no type {}", tensor::to_string(tensor.dtype()));
  std::string shape;
  for (const int64_t dim : tensor.dims()) shape += fmt::format("{}, ", dim);
  const char order = tensor::bits(tensor.dtype()) == 8 ? '|' : '<';
  std::string header = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}", order,
                                   descriptor->name, shape);
  // The data starts at a multiple of 64; magic, version and length take 10 bytes.
  header.resize(align_up(header.size() + 11, size_t{64}) - 11, ' ');
  header += '\n';
  const uint16_t length = checked_cast<uint16_t>(header.size(), "npy header");

  AtomicFile file(path);
  file.write(std::as_bytes(std::span(kMagic)));
  file.write(std::as_bytes(std::span(std::string_view("\x01\x00", 2))));
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(header)));
  file.write(tensor.bytes());
  file.commit();
}

}  // namespace lathe::io
