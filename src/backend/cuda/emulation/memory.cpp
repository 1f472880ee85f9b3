#include "backend/cuda/emulation/memory.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <stdexcept>
#include <unordered_map>

namespace lathe::backend::cuda::emulated {
namespace {

// Whether an access may be followed by one of the thread that runs now without anything between.
bool safe(Space space, const Access& access) {
  if (access.block == 0) return true;
  if (access.block == block_serial()) return ordered(access.thread, access.time);
  return space == Space::shared || !of_this_launch(access.block);  // another launch, or memory of a block that is gone
}

std::string by_whom(const Access& access) {
  if (access.block != block_serial()) return "another block";
  return fmt::format("thread {}", access.thread);
}

[[noreturn]] void race(const std::string& name, size_t byte, const char* mine, const Access& other,
                       const char* theirs) {
  const bool inside = other.block == block_serial();
  fault(fmt::format("{} byte {} of {}, which {} {} with no {} between", mine, byte, name, by_whom(other), theirs,
                    inside ? "barrier" : "end of the launch"));
}

Access here() {
  return {block_serial(), now(), thread_number()};
}

}  // namespace

void check_read(Space space, const std::string& name, Shadow* shadow, size_t at, size_t bytes) {
  if (!shadow) return;
  for (size_t i = at; i < at + bytes; ++i) {
    Shadow& byte = shadow[i];
    if (byte.in_flight) fault(fmt::format("reads byte {} of {}, to which a copy is still on its way", i, name));
    if (!byte.written) fault(fmt::format("reads byte {} of {}, which nobody has written", i, name));
    if (!safe(space, byte.write)) race(name, i, "reads", byte.write, "wrote");
    const Access access = here();
    if (byte.reads[0].block != access.block || byte.reads[0].thread != access.thread) byte.reads[1] = byte.reads[0];
    byte.reads[0] = access;
  }
}

void check_write(Space space, const std::string& name, Shadow* shadow, size_t at, size_t bytes) {
  if (!shadow) return;
  for (size_t i = at; i < at + bytes; ++i) {
    Shadow& byte = shadow[i];
    if (byte.in_flight) fault(fmt::format("writes byte {} of {}, to which a copy is still on its way", i, name));
    if (!safe(space, byte.write)) race(name, i, "writes", byte.write, "wrote");
    for (const Access& read : byte.reads) {
      if (!safe(space, read)) race(name, i, "writes", read, "read");
    }
    byte.write = here();
    byte.written = true;
  }
}

void begin_flight(const std::string& name, Shadow* shadow, size_t at, size_t bytes) {
  check_write(Space::shared, name, shadow, at, bytes);
  for (size_t i = at; shadow && i < at + bytes; ++i) shadow[i].in_flight = true;
}

void end_flight(Shadow* shadow, size_t at, size_t bytes) {
  for (size_t i = at; shadow && i < at + bytes; ++i) {
    shadow[i].in_flight = false;
    shadow[i].write = here();
  }
}

namespace {

std::map<const unsigned char*, Known>& all_known() {
  static std::map<const unsigned char*, Known> all;
  return all;
}

}  // namespace

void add_known(const Known& memory) {
  all_known()[memory.data] = memory;
}
void remove_known(const void* data) {
  all_known().erase(static_cast<const unsigned char*>(data));
}
Known known_at(const void* pointer) {
  const auto* byte = static_cast<const unsigned char*>(pointer);
  auto it = all_known().upper_bound(byte);
  if (it != all_known().begin() && byte < std::prev(it)->second.data + std::prev(it)->second.bytes) {
    return std::prev(it)->second;
  }
  throw std::logic_error("a pointer to no memory of the device");
}

// Names are literals: their addresses are looked up first.
const std::string* kept_name(const char* name) {
  static std::unordered_map<const char*, const std::string*> by_address;
  static std::set<std::string> names;
  const std::string*& kept = by_address[name];
  if (!kept) kept = &*names.insert(name).first;
  return kept;
}

}  // namespace lathe::backend::cuda::emulated
