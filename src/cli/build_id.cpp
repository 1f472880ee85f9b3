#include "cli/build_id.h"

#include <elf.h>
#include <link.h>

#include <cstring>
#include <span>

#include "base/checked.h"
#include "base/hash.h"

namespace lathe::cli {
namespace {

// The build id among the notes of a segment, in hexadecimal; empty when there is none. Notes are padded to 4 bytes.
std::string id_among(std::span<const unsigned char> notes) {
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) header;
    std::memcpy(&header, notes.data(), sizeof header);
    const size_t name = sizeof header;
    const size_t value = name + align_up<size_t>(header.n_namesz, 4);
    const size_t end = value + align_up<size_t>(header.n_descsz, 4);
    if (end > notes.size()) break;
    if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == 4 && std::memcmp(&notes[name], "GNU", 4) == 0) {
      return fmt::format("{:02x}", fmt::join(notes.subspan(value, header.n_descsz), ""));
    }
    notes = notes.subspan(end);
  }
  return "";
}

// Called for the program first, then for its libraries; the program is enough.
int look_at(dl_phdr_info* info, size_t, void* found) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* notes = reinterpret_cast<const unsigned char*>(info->dlpi_addr + segment.p_vaddr);
    const std::string id = id_among({notes, segment.p_memsz});
    if (!id.empty()) *static_cast<std::string*>(found) = id;
  }
  return 1;
}

}  // namespace

std::string build_id() {
  std::string id;
  ::dl_iterate_phdr(look_at, &id);
  return id.empty() ? sha256_file_hex("/proc/self/exe") : id;
}

}  // namespace lathe::cli
