#include "runtime/session.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "base/error.h"
#include "base/memory.h"
#include "runtime/kv_cache.h"
#include "runtime/program.h"
#include "runtime/session_memory.h"
#include "runtime/session_plan.h"
#include "runtime/step_cutter.h"

namespace lathe::runtime {
namespace {

using backend::Capacity;
using backend::Device;
using backend::Settings;
using tensor::DType;

struct Sequence {
  KvCache::Table table;
  int64_t length = 0;
};

// Sequences as they were before a step, given back unless the step is kept: a step that throws leaves no trace.
class Rollback {
 public:
  explicit Rollback(KvCache& cache) : cache_(cache) {}
  ~Rollback() {
    for (const auto& [sequence, length] : before_) {
      cache_.shrink(sequence->table, length);
      sequence->length = length;
    }
  }
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;

  void watch(Sequence& sequence) { before_.emplace_back(&sequence, sequence.length); }
  void keep() { before_.clear(); }

 private:
  KvCache& cache_;
  std::vector<std::pair<Sequence*, int64_t>> before_;
};

}  // namespace

struct Session::Impl {
  std::shared_ptr<const plan::EngineFile> engine;
  const Device& device;
  std::shared_ptr<backend::Accelerator> accelerator;  // shared: several sessions may use it; null on CPUs
  Settings settings;
  bool deterministic;
  Capacity capacity;
  int64_t context_length;
  std::unique_ptr<Team> team;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<Program> program;
  std::map<SequenceId, Sequence> sequences;
  SequenceId next_id = 0;
  Tap tap;

  const plan::Plan& plan() const { return engine->manifest().plan; }
  Impl(std::shared_ptr<const plan::EngineFile> e, const SessionOptions& options);

  void require_host_room(const Booking& booking) const;
  uint64_t require_room(const SessionOptions& options) const;
  Sequence& get(SequenceId id);
  void check_items(std::span<const StepItem> items);
  void run_parts(std::span<const StepItem> items, std::span<const Part> parts, const OnLogits& on_logits);
  int64_t fill_inputs(std::span<const StepItem> items, std::span<const Part> parts);
  void call_tap(size_t instruction, const backend::Step& step);
};

Session::Impl::Impl(std::shared_ptr<const plan::EngineFile> e, const SessionOptions& options)
    : engine(std::move(e)),
      device(backend::get_device(engine->manifest().plan.device)),
      accelerator(accelerator_of(device, options)),
      settings(settings_of(device, engine->manifest().plan, options)),
      deterministic(options.deterministic),
      team(device.make_team(options.threads)) {
  const Booking booking = booking_of(*engine, options, team->size());
  capacity = booking.capacity;
  context_length = booking.context_length;
  const uint64_t free = accelerator ? require_room(options) : 0;
  if (!accelerator) require_host_room(booking);
  cache = std::make_unique<KvCache>(device, booking.layers, booking.blocks, accelerator.get());
  program = std::make_unique<Program>(*engine, *cache, settings, capacity, accelerator.get());
  program->set_drop_weights(options.drop_weights);
  if (!accelerator) return;
  const backend::Accelerator::Memory now = accelerator->memory();
  const uint64_t taken = free - std::min(free, now.free);
  options.log(LogLevel::info,
              fmt::format("{}: measured: {:.1f} MB taken, {:.1f} of {:.1f} MB are free", accelerator->name(),
                          double(taken) / 1e6, double(now.free) / 1e6, double(now.total) / 1e6));
}

void Session::Impl::require_host_room(const Booking& booking) const {
  const size_t cache_bytes = KvCache::bytes_needed(device, booking.layers, booking.blocks);
  const uint64_t available = available_memory_bytes();
  if (cache_bytes + booking.work_bytes <= available) return;
  fail(ErrorCode::resource, "{} positions of cache need {} bytes and a step of {} tokens {} bytes, {} are available",
       booking.cache_tokens, cache_bytes, capacity.tokens, booking.work_bytes, available);
}

// Returns what was free before.
uint64_t Session::Impl::require_room(const SessionOptions& options) const {
  const SessionMemory memory = session_memory(*engine, options);
  options.log(LogLevel::info, describe(memory));
  require_fits(memory, *accelerator);
  return memory.free;
}

Sequence& Session::Impl::get(SequenceId id) {
  const auto it = sequences.find(id);
  if (it == sequences.end()) fail(ErrorCode::usage, "there is no sequence {}", id);
  return it->second;
}

void Session::Impl::check_items(std::span<const StepItem> items) {
  const int64_t vocab = engine->manifest().contract.vocab_size;
  std::map<SequenceId, int64_t> lengths;
  for (const StepItem& item : items) {
    if (item.tokens.empty()) fail(ErrorCode::usage, "sequence {}: no tokens", item.sequence);
    if (!lengths.emplace(item.sequence, 0).second) {
      fail(ErrorCode::usage, "sequence {} appears twice in a step", item.sequence);
    }
    const int64_t length = get(item.sequence).length + int64_t(item.tokens.size());
    if (length > context_length) {
      fail(ErrorCode::invalid_input, "sequence {} would have {} tokens, the context holds {}", item.sequence, length,
           context_length);
    }
    for (const int32_t token : item.tokens) {
      if (token < 0 || token >= vocab) {
        fail(ErrorCode::usage, "token {} is outside the vocabulary of {}", token, vocab);
      }
    }
  }
}

// Returns the number of rows of logits.
int64_t Session::Impl::fill_inputs(std::span<const StepItem> items, std::span<const Part> parts) {
  StepInputs& inputs = program->inputs();
  int64_t token = 0;
  int64_t outputs = 0;
  for (size_t s = 0; s < parts.size(); ++s) {
    const Part& part = parts[s];
    const StepItem& item = items[part.item];
    Sequence& sequence = get(item.sequence);
    cache->grow(sequence.table, sequence.length + part.count);
    inputs.first_token[s] = int32_t(token);
    inputs.first_position[s] = int32_t(sequence.length);
    std::copy(sequence.table.blocks.begin(), sequence.table.blocks.end(),
              inputs.block_table.begin() + int64_t(s) * capacity.blocks_per_sequence);
    for (int64_t i = 0; i < part.count; ++i, ++token) {
      inputs.token_ids[size_t(token)] = item.tokens[size_t(part.begin + i)];
      inputs.positions[size_t(token)] = sequence.length + i;
      const bool last = part.begin + i + 1 == int64_t(item.tokens.size());
      if (item.logits == Logits::all || (item.logits == Logits::last && last)) {
        inputs.output_rows[size_t(outputs++)] = token;
      }
    }
  }
  inputs.first_token[parts.size()] = int32_t(token);
  return outputs;
}

void Session::Impl::call_tap(size_t index, const backend::Step& step) {
  const plan::Instruction& instruction = plan().instructions[index];
  for (const plan::Operand& output : instruction.outputs) {
    if (output.kind != plan::OperandKind::buffer) continue;
    const plan::Buffer& buffer = plan().buffers[size_t(output.index)];
    if (buffer.dtype != DType::f32) continue;
    const int64_t rows = step.rows(buffer.rows);
    tap(instruction, buffer, {program->values(output.index, step), size_t(rows * std::max<int64_t>(buffer.columns, 1))},
        rows);
  }
}

void Session::Impl::run_parts(std::span<const StepItem> items, std::span<const Part> parts, const OnLogits& on_logits) {
  const int64_t outputs = fill_inputs(items, parts);
  backend::Step step;
  step.tokens = program->inputs().first_token[parts.size()];
  step.outputs = outputs;
  step.sequences = int64_t(parts.size());
  for (const Part& part : parts) {
    step.longest = std::max(step.longest, get(items[part.item].sequence).length + part.count);
  }
  if (tap)
    program->run(step, *team, [&](size_t i) { call_tap(i, step); });
  else
    program->run(step, *team);
  check_mapping_faults();

  const int64_t vocab = engine->manifest().contract.vocab_size;
  const float* logits = program->logits(step);
  for (int64_t row = 0; row < outputs; ++row) {
    for (int64_t i = 0; i < vocab; ++i) {
      if (std::isfinite(logits[row * vocab + i])) continue;
      const float found = logits[row * vocab + i];
      program->run_checked(step, *team);
      fail(ErrorCode::verification, "logit {} of row {} is {}", i, row, found);
    }
  }
  int64_t row = 0;
  for (const Part& part : parts) {
    const StepItem& item = items[part.item];
    get(item.sequence).length += part.count;
    for (int64_t i = 0; i < part.count; ++i) {
      const bool last = part.begin + i + 1 == int64_t(item.tokens.size());
      if (item.logits == Logits::none || (item.logits == Logits::last && !last)) continue;
      if (on_logits) on_logits(part.item, part.begin + i, {logits + row * vocab, size_t(vocab)});
      ++row;
    }
  }
}

Session::Session(std::shared_ptr<const plan::EngineFile> engine, const SessionOptions& options)
    : impl_(std::make_unique<Impl>(std::move(engine), options)) {}
Session::~Session() = default;

const plan::EngineFile& Session::engine() const {
  return *impl_->engine;
}
int64_t Session::context_length() const {
  return impl_->context_length;
}
int64_t Session::vocab_size() const {
  return contract().vocab_size;
}
int Session::threads() const {
  return impl_->team->size();
}
std::string Session::isa() const {
  if (impl_->accelerator) return impl_->accelerator->arch();
  return backend::isa_name(impl_->device, impl_->settings.isa);
}
void Session::set_tap(Tap tap) {
  impl_->tap = std::move(tap);
}

SequenceId Session::create() {
  const SequenceId id = impl_->next_id++;
  impl_->sequences.emplace(id, Sequence{});
  return id;
}

void Session::release(SequenceId id) {
  impl_->cache->shrink(impl_->get(id).table, 0);
  impl_->sequences.erase(id);
}

void Session::truncate(SequenceId id, int64_t length) {
  Sequence& sequence = impl_->get(id);
  if (length < 0 || length > sequence.length) {
    fail(ErrorCode::usage, "sequence {} has {} positions, cannot be cut to {}", id, sequence.length, length);
  }
  impl_->cache->shrink(sequence.table, length);
  sequence.length = length;
}

int64_t Session::length(SequenceId id) const {
  return impl_->get(id).length;
}

void Session::step(std::span<const StepItem> items, const OnLogits& on_logits) {
  impl_->check_items(items);
  Rollback rollback(*impl_->cache);
  for (const StepItem& item : items) rollback.watch(impl_->get(item.sequence));
  // Attention's last bits depend on how a sequence is cut into steps, and on nothing else: cut by position.
  const int64_t grid = impl_->deterministic ? impl_->device.kv_block : 0;
  StepCutter cutter(items, impl_->capacity, grid);
  while (!cutter.done()) {
    impl_->run_parts(items, cutter.next([&](SequenceId id) { return impl_->get(id).length; }), on_logits);
  }
  rollback.keep();
}

std::span<const float> Session::step(SequenceId sequence, std::span<const int32_t> tokens) {
  std::span<const float> result;
  const StepItem item{sequence, tokens, Logits::last};
  step(std::span(&item, 1), [&](size_t, int64_t, std::span<const float> logits) { result = logits; });
  return result;
}

}  // namespace lathe::runtime
