// A manifest with all its hashes right, as an engine: opens and binds, or Error. The first byte chooses between
// the bytes as they are and a sound engine of which the bytes change a few fields, which reaches deeper.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

#include "base/error.h"
#include "plan/flex.h"
#include "runtime/program.h"
#include "runtime/sample_engine.h"

namespace lathe::runtime {
namespace {

constexpr size_t kMaxWeights = size_t{128} << 10;
constexpr size_t kMaxMemory = size_t{256} << 20;  // what a session would refuse for a small machine

// Reads numbers off the input; 0 when it is at its end.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool left() const { return size_ > 0; }
  size_t next(size_t below) {
    size_t value = 0;
    for (int i = 0; i < 2 && size_ > 0; ++i, --size_) value = value << 8 | *data_++;
    return value % below;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

void collect(Json& json, std::vector<Json*>& places) {
  places.push_back(&json);
  if (json.is_structured()) {
    for (Json& member : json) collect(member, places);
  }
}

Json other_value(const Json& old, Choices& choices, const std::vector<Json*>& places) {
  static constexpr std::array<int64_t, 20> kNumbers = {
      -1, 0, 1, 2, 3, 4, 7, 8, 12, 16, 31, 32, 48, 64, 65, 96, 1 << 16, int64_t{1} << 32, INT64_MAX, INT64_MIN};
  if (old.is_number() && choices.next(4) > 0) return kNumbers[choices.next(kNumbers.size())];
  if (old.is_array() && !old.empty()) {  // an element more or less, or two in other order
    Json changed = old;
    const size_t at = choices.next(old.size());
    switch (choices.next(3)) {
      case 0:
        changed.erase(at);
        break;
      case 1:
        changed.push_back(old[at]);
        break;
      default:
        std::swap(changed[at], changed[choices.next(old.size())]);
    }
    return changed;
  }
  // What stands elsewhere, of the same kind if chance finds one: names become other names.
  for (int i = 0; i < 8; ++i) {
    const Json& other = *places[choices.next(places.size())];
    if (other.type() == old.type()) return other;
  }
  return nullptr;
}

std::string changed_manifest(Choices choices) {
  plan::Manifest manifest = sample_manifest();
  manifest.weight_bytes = kMaxWeights;  // room for constants that grow; one chunk
  manifest.weight_hashes = {hash_of("of the weights, which nobody asks here")};
  const std::string text = plan::write_manifest(manifest);
  Json json = plan::decode_flex(std::as_bytes(std::span(text)));
  for (int i = 0; i < 6 && choices.left(); ++i) {
    std::vector<Json*> places;
    collect(json[choices.next(8) == 0 ? "contract" : "plan"], places);
    Json& place = *places[choices.next(places.size())];
    Json value = other_value(place, choices, places);
    place = std::move(value);
  }
  return plan::encode_flex(json);
}

void bind_engine(const std::filesystem::path& path) {
  const auto engine = plan::EngineFile::open(path);
  const plan::Plan& plan = engine->manifest().plan;
  backend::Settings settings;
  const backend::Device& device = backend::get_device("cpu");
  settings.isa = device.choose_isa("");
  settings.exact = false;
  settings.kv = *tensor::find_dtype(plan.kv);
  const backend::Capacity capacity{.tokens = 8, .outputs = 4, .sequences = 2, .blocks_per_sequence = 2, .threads = 1};
  std::vector<backend::KvShape> layers;
  for (const plan::State& state : plan.states) layers.push_back({settings.kv, state.kv_heads, state.head_dim});
  const size_t cache_bytes = KvCache::bytes_needed(device, layers, 4);
  const size_t work_bytes = Program::bytes_needed(plan, settings, capacity);
  if (cache_bytes > kMaxMemory || work_bytes > kMaxMemory) return;
  const KvCache cache(device, layers, 4);
  const Program program(*engine, cache, settings, capacity);
}

// The engine in memory, as a file that open() can map.
void attempt(const std::string& manifest) {
  struct File {
    int number = ::memfd_create("engine", MFD_CLOEXEC);
    ~File() { ::close(number); }
  } const file;
  const std::string bytes = engine_of(manifest, std::string(kMaxWeights, '\0'));
  if (::write(file.number, bytes.data(), bytes.size()) != ssize_t(bytes.size())) __builtin_trap();
  bind_engine(fmt::format("/proc/self/fd/{}", file.number));
}

}  // namespace
}  // namespace lathe::runtime

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    const bool raw = data[0] % 4 == 0;
    lathe::runtime::attempt(raw ? std::string(reinterpret_cast<const char*>(data) + 1, size - 1)
                                : lathe::runtime::changed_manifest({data + 1, size - 1}));
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
