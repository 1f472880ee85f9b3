// Views of shared and global memory that check every access: bounds, alignment, that somebody wrote what is read, and
// that no two threads meet without a barrier between them.
#pragma once

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "backend/cuda/emulation/block.h"

namespace lathe::backend::cuda::emulated {

// Who touched a byte last.
struct Access {
  uint64_t block = 0;  // block_serial() of it; 0: nobody
  uint64_t time = 0;
  unsigned thread = 0;
};
struct Shadow {
  Access write;
  std::array<Access, 2> reads;  // the last ones of different threads
  bool written = false;
  bool in_flight = false;  // an asynchronous copy will land here
};

enum class Space : uint8_t { shared, global };

// `bytes` bytes from `at` of memory called `name`. Throws Fault.
void check_read(Space space, const std::string& name, Shadow* shadow, size_t at, size_t bytes);
void check_write(Space space, const std::string& name, Shadow* shadow, size_t at, size_t bytes);
void begin_flight(const std::string& name, Shadow* shadow, size_t at, size_t bytes);
void end_flight(Shadow* shadow, size_t at, size_t bytes);

// Memory that pointers lead to, as the library of the tests allocates it: kernels get its bounds with a pointer.
struct Known {
  unsigned char* data = nullptr;
  size_t bytes = 0;
  const std::string* name = nullptr;
  Shadow* shadow = nullptr;  // one for each byte, or null: nobody keeps account
};
void add_known(const Known& memory);
void remove_known(const void* data);
// The one that a pointer leads into. Throws std::logic_error where there is none.
Known known_at(const void* pointer);

// A piece of memory as elements of T: what a kernel has for a pointer. Indices are of elements.
template <class T>
class View {
 public:
  using Plain = std::remove_const_t<T>;
  using Byte = std::conditional_t<std::is_const_v<T>, const unsigned char, unsigned char>;

  View() = default;
  View(Space space, const std::string* name, Byte* data, size_t bytes, Shadow* shadow)
      : space_(space), name_(name), data_(data), bytes_(bytes), shadow_(shadow) {}
  // What a pointer of the library's leads to, from there on.
  View(T* pointer) {
    if (!pointer) return;
    const Known known = known_at(pointer);
    const auto at = size_t(reinterpret_cast<const unsigned char*>(pointer) - known.data);
    *this = View(Space::global, known.name, known.data, known.bytes, known.shadow);
    if (at % sizeof(T) != 0) throw std::logic_error("a pointer that is not aligned to its elements");
    offset_ = int64_t(at / sizeof(T));
  }
  // To const.
  operator View<const T>() const
    requires(!std::is_const_v<T>)
  {
    return View<const T>(space_, name_, data_, bytes_, shadow_, offset_);
  }
  explicit operator bool() const { return data_ != nullptr; }

  class Element {
   public:
    Element(const View& view, int64_t index) : view_(view), index_(index) {}
    operator Plain() const { return view_.template load<Plain>(index_); }
    const Element& operator=(const Plain& value) const {
      view_.template store<Plain>(index_, value);
      return *this;
    }
    const Element& operator=(const Element& other) const { return *this = Plain(other); }
    const Element& operator+=(const Plain& value) const { return *this = Plain(*this) + value; }

   private:
    View view_;
    int64_t index_;
  };

  Element operator[](int64_t index) const { return Element(*this, index); }
  View operator+(int64_t elements) const {
    View moved = *this;
    moved.offset_ += elements;
    return moved;
  }

  // sizeof(V) bytes that begin at element `index`, which have to be aligned to sizeof(V).
  template <class V>
  V load(int64_t index) const {
    const size_t at = place(index, sizeof(V), "reads");
    check_read(space_, *name_, shadow_, at, sizeof(V));
    V value;
    std::memcpy(&value, data_ + at, sizeof value);
    return value;
  }
  template <class V>
  void store(int64_t index, const V& value) const {
    const size_t at = place(index, sizeof(V), "writes");
    check_write(space_, *name_, shadow_, at, sizeof(V));
    if constexpr (!std::is_const_v<T>) std::memcpy(data_ + at, &value, sizeof value);
  }
  // The bytes themselves, checked for bounds alone: for atomics.
  Byte* raw(int64_t index) const { return data_ + place(index, sizeof(T), "updates"); }
  void note_atomic(int64_t index) const {
    for (size_t i = 0, at = place(index, sizeof(T), "updates"); shadow_ && i < sizeof(T); ++i)
      shadow_[at + i].written = true;
  }

  // A copy of `bytes` bytes from global memory that lands at the wait.
  template <class From>
  void copy_async(int64_t index, const From& from, int64_t from_index, size_t bytes) const {
    if (bytes != 4 && bytes != 8 && bytes != 16)
      fault(fmt::format("copies {} bytes asynchronously: 4, 8 or 16 can be", bytes));
    const size_t at = place(index, bytes, "copies to");
    const auto* source = from.source(from_index, bytes);
    begin_flight(*name_, shadow_, at, bytes);
    defer_copy([*this, at, source, bytes] {
      std::memcpy(const_cast<unsigned char*>(data_) + at, source, bytes);
      end_flight(shadow_, at, bytes);
    });
  }
  const unsigned char* source(int64_t index, size_t bytes) const {
    const size_t at = place(index, bytes, "copies from");
    check_read(space_, *name_, shadow_, at, bytes);
    return data_ + at;
  }

 private:
  template <class>
  friend class View;
  View(Space space, const std::string* name, Byte* data, size_t bytes, Shadow* shadow, int64_t offset)
      : space_(space), name_(name), data_(data), bytes_(bytes), shadow_(shadow), offset_(offset) {}

  size_t place(int64_t index, size_t bytes, const char* verb) const {
    if (!data_) fault(fmt::format("{} memory that is not there", verb));
    const int64_t first = (offset_ + index) * int64_t(sizeof(T));
    if (first < 0 || uint64_t(first) + bytes > bytes_) {
      fault(fmt::format("{} {}[{}] ({} bytes): it has {} elements", verb, *name_, offset_ + index, bytes,
                        bytes_ / sizeof(T)));
    }
    if (size_t(first) % bytes != 0) {
      fault(fmt::format("{} {} bytes at {}[{}], which is not aligned to them", verb, bytes, *name_, offset_ + index));
    }
    return size_t(first);
  }

  Space space_ = Space::global;
  const std::string* name_ = nullptr;
  Byte* data_ = nullptr;
  size_t bytes_ = 0;
  Shadow* shadow_ = nullptr;
  int64_t offset_ = 0;  // elements
};

// Global memory that a test owns. Elements that were not given count as never written.
template <class T>
class Buffer {
 public:
  Buffer(std::string name, size_t elements)
      : name_(std::make_unique<std::string>(std::move(name))), elements_(elements), shadow_(elements * sizeof(T)) {}
  Buffer(std::string name, std::vector<T> elements) : Buffer(std::move(name), elements.size()) {
    elements_ = std::move(elements);
    for (Shadow& byte : shadow_) byte.written = true;
  }

  const std::vector<T>& elements() const { return elements_; }
  operator View<T>() { return view<T>(); }
  operator View<const T>() { return view<T>(); }
  View<T> view() { return view<T>(); }

 private:
  template <class V>
  View<V> view() {
    return View<V>(Space::global, name_.get(), reinterpret_cast<unsigned char*>(elements_.data()),
                   elements_.size() * sizeof(T), shadow_.data());
  }

  std::unique_ptr<std::string> name_;  // views point to it
  std::vector<T> elements_;
  std::vector<Shadow> shadow_;
};

const std::string* kept_name(const char* name);

template <class T>
View<T> shared_view(const char* name, size_t elements) {
  const SharedBytes bytes = shared_bytes(name, elements * sizeof(T));
  return View<T>(Space::shared, kept_name(name), bytes.data, bytes.size, bytes.shadow);
}
template <class T>
View<T> dynamic_shared_view() {
  const SharedBytes bytes = dynamic_shared_bytes();
  return View<T>(Space::shared, kept_name("dynamic shared memory"), bytes.data, bytes.size, bytes.shadow);
}

}  // namespace lathe::backend::cuda::emulated
