#include "runtime/program.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/checked.h"
#include "base/error.h"

namespace lathe::runtime {
namespace {

using backend::Capacity;
using backend::Settings;
using plan::Buffer;
using plan::Operand;
using plan::OperandKind;
using plan::Rows;

constexpr size_t kAlign = 4096;

// The arenas of the row kinds stand one after another.
struct ArenaParts {
  size_t tokens;
  size_t outputs;
  size_t sequences;
  size_t total() const { return tokens + outputs + sequences; }
};

ArenaParts arena_parts(const plan::Plan& plan, const Capacity& capacity) {
  const auto bytes = [](int64_t per_row, int64_t rows) {
    return align_up(checked_mul(size_t(per_row), size_t(rows), "arena"), kAlign);
  };
  return {bytes(plan.arena_tokens, capacity.tokens), bytes(plan.arena_outputs, capacity.outputs),
          bytes(plan.arena_sequences, capacity.sequences + 1)};
}

size_t scratch_bytes(const plan::Plan& plan, const Settings& settings, const Capacity& capacity) {
  const backend::Device& device = backend::get_device(plan.device);
  size_t largest = 0;
  for (const plan::Instruction& instruction : plan.instructions) {
    const backend::Kernel& kernel = backend::get_kernel(device, instruction.kernel);
    if (kernel.scratch_size) largest = std::max(largest, kernel.scratch_size(plan, instruction, settings, capacity));
  }
  return align_up(largest, kAlign);
}

// The first element that is NaN or infinite, [row, column], "" when there is none.
std::string find_not_finite(const plan::Constant& constant, std::span<const std::byte> bytes) {
  const backend::PackedLayout* layout = backend::find_layout(constant.layout);
  const tensor::SourcePtr plain =
      layout ? nullptr
             : tensor::mapped_source(constant.dtype, constant.encoding, constant.dims, bytes, nullptr, constant.name);
  const int64_t columns = constant.dims.empty() ? 1 : constant.dims.back();
  const int64_t rows = layout ? constant.dims[0] : plain->rows();
  std::vector<float> row(static_cast<size_t>(columns));
  for (int64_t r = 0; r < rows; ++r) {
    if (layout)
      layout->unpack_row(bytes, columns, r, row);
    else
      plain->read_rows_f32(r, 1, row);
    for (int64_t c = 0; c < columns; ++c) {
      const float value = row[size_t(c)];
      if (std::isnan(value)) return fmt::format("nan at [{}, {}]", r, c);  // whatever its sign
      if (std::isinf(value)) return fmt::format("{} at [{}, {}]", value, r, c);
    }
  }
  return {};
}

}  // namespace

size_t Program::bytes_needed(const plan::Plan& plan, const Settings& settings, const Capacity& capacity) {
  backend::check_plan(plan);  // before any kernel is asked for its scratch: they believe the plan
  return checked_add(arena_parts(plan, capacity).total(), scratch_bytes(plan, settings, capacity), "working space");
}

size_t Program::scratch_needed(const plan::Plan& plan, const Settings& settings, const Capacity& capacity) {
  backend::check_plan(plan);
  return scratch_bytes(plan, settings, capacity);
}

Program::Program(const plan::EngineFile& engine, const KvCache& cache, const Settings& settings,
                 const Capacity& capacity, backend::Accelerator* accelerator)
    : engine_(engine), cache_(cache), capacity_(capacity) {
  const plan::Plan& plan = engine.manifest().plan;
  const size_t bytes = std::max(bytes_needed(plan, settings, capacity), kAlign);
  const backend::Device& device = backend::get_device(plan.device);
  if (accelerator) {
    weights_ = accelerator->weights(engine);
    staging_ = std::make_unique<Staging>(*accelerator, capacity, engine.manifest().contract.vocab_size);
  }
  arena_ = with_context("working space",
                        [&] { return accelerator ? accelerator->allocate(bytes) : device.allocate(bytes, true); });
  inputs_.token_ids.resize(size_t(capacity.tokens));
  inputs_.positions.resize(size_t(capacity.tokens));
  inputs_.first_token.resize(size_t(capacity.sequences + 1));
  inputs_.first_position.resize(size_t(capacity.sequences));
  inputs_.block_table.resize(size_t(capacity.sequences * capacity.blocks_per_sequence));
  inputs_.output_rows.resize(size_t(capacity.outputs));
  scratch_ = arena_.get() + arena_parts(plan, capacity).total();

  for (const plan::Instruction& instruction : plan.instructions) {
    Entry entry;
    entry.kernel = &backend::get_kernel(device, instruction.kernel);
    entry.bound.plan = &plan;
    entry.bound.instruction = &instruction;
    for (const Operand& operand : instruction.inputs) entry.bound.inputs.push_back(address(operand));
    for (const Operand& operand : instruction.outputs) entry.bound.outputs.push_back(address(operand));
    entry.bound.scratch = scratch_;
    entry.bound.blocks_per_sequence = capacity.blocks_per_sequence;
    entry.bound.settings = settings;
    entry.bound.capacity = capacity;
    if (staging_) entry.bound.device = staging_->on_stream();
    entry.bound.failure = &failure_;
    if (entry.kernel->prepare) entry.kernel->prepare(entry.bound);
    entries_.push_back(std::move(entry));
  }
}

std::byte* Program::input_address(const Buffer& buffer) const {
  if (staging_) return staging_->address(buffer.name);
  const auto data = [](const auto& vector) {  // kernels only read them
    return const_cast<std::byte*>(reinterpret_cast<const std::byte*>(vector.data()));
  };
  if (buffer.name == plan::kTokenIds) return data(inputs_.token_ids);
  if (buffer.name == plan::kPositions) return data(inputs_.positions);
  if (buffer.name == plan::kFirstToken) return data(inputs_.first_token);
  if (buffer.name == plan::kFirstPosition) return data(inputs_.first_position);
  if (buffer.name == plan::kBlockTable) return data(inputs_.block_table);
  if (buffer.name == plan::kOutputRows) return data(inputs_.output_rows);
  return nullptr;
}

std::byte* Program::address(const Operand& operand) const {
  const plan::Plan& plan = engine_.manifest().plan;
  switch (operand.kind) {
    case OperandKind::absent:
      return nullptr;
    case OperandKind::constant:  // kernels only read it
      if (weights_) return weights_.get() + plan.constants[size_t(operand.index)].offset;
      return const_cast<std::byte*>(engine_.constant(plan.constants[size_t(operand.index)]).data());
    case OperandKind::state:
      return cache_.layer(size_t(operand.index));
    case OperandKind::buffer:
      break;
  }
  const Buffer& buffer = plan.buffers[size_t(operand.index)];
  if (std::byte* input = input_address(buffer)) return input;
  const ArenaParts parts = arena_parts(plan, capacity_);
  switch (buffer.rows) {
    case Rows::tokens:
      return arena_.get() + buffer.offset * capacity_.tokens;
    case Rows::outputs:
      return arena_.get() + parts.tokens + buffer.offset * capacity_.outputs;
    case Rows::sequences:
    case Rows::sequences_one:
      return arena_.get() + parts.tokens + parts.outputs + buffer.offset * (capacity_.sequences + 1);
  }
  return nullptr;
}

const float* Program::values(int64_t buffer, const backend::Step& step) {
  const std::byte* place = address({OperandKind::buffer, buffer});
  if (!staging_) return reinterpret_cast<const float*>(place);
  const Buffer& found = engine_.manifest().plan.buffers[size_t(buffer)];
  return staging_->look(place, size_t(step.rows(found.rows) * std::max<int64_t>(found.columns, 1)));
}

const float* Program::logits(const backend::Step& step) {
  return staging_ ? staging_->logits() : values(engine_.manifest().plan.logits, step);
}

std::string Program::bad_weight(size_t index) const {
  const plan::Plan& plan = engine_.manifest().plan;
  for (const Operand& input : plan.instructions[index].inputs) {
    if (input.kind != OperandKind::constant) continue;
    const plan::Constant& constant = plan.constants[size_t(input.index)];
    if (!tensor::is_float(constant.dtype)) continue;
    const std::string found = find_not_finite(constant, engine_.constant(constant));
    if (!found.empty()) return fmt::format("; its weight \"{}\" holds {}", constant.name, found);
  }
  return {};
}

void Program::run(const backend::Step& step, Team& team, const AfterInstruction& after) {
  if (!staging_) return run_instructions(step, team, after);
  // Whatever throws, the device is done with this step before the next one changes its inputs.
  struct Drain {
    backend::Stream* stream;
    ~Drain() {
      if (stream) stream->drain();
    }
  } drain{&staging_->stream()};
  staging_->copy_in(inputs_, step);
  run_instructions(step, team, after);
  staging_->finish(address({OperandKind::buffer, engine_.manifest().plan.logits}), step.outputs);
  drain.stream = nullptr;
}

void Program::run_instructions(const backend::Step& step, Team& team, const AfterInstruction& after) {
  if (!after) {
    team.run([&](TeamMember& member) {
      for (const Entry& entry : entries_) {
        entry.kernel->run(entry.bound, step, member);
        member.barrier();
        if (drop_weights_ && member.index() == 0) drop_weights(*entry.bound.instruction);
      }
    });
    throw_failure();
    return;
  }
  for (size_t i = 0; i < entries_.size(); ++i) {
    team.run([&](TeamMember& member) { entries_[i].kernel->run(entries_[i].bound, step, member); });
    throw_failure();
    if (drop_weights_) drop_weights(*entries_[i].bound.instruction);
    after(i);
  }
}

void Program::run_checked(const backend::Step& step, Team& team) {
  const plan::Plan& plan = engine_.manifest().plan;
  run(step, team, [&](size_t i) {
    const plan::Instruction& instruction = plan.instructions[i];
    for (const Operand& output : instruction.outputs) {
      if (output.kind != OperandKind::buffer) continue;
      const Buffer& buffer = plan.buffers[size_t(output.index)];
      if (buffer.dtype != tensor::DType::f32) continue;
      const int64_t columns = std::max<int64_t>(buffer.columns, 1);
      const float* found = values(output.index, step);
      for (int64_t at = 0; at < step.rows(buffer.rows) * columns; ++at) {
        if (std::isfinite(found[at])) continue;
        fail(ErrorCode::verification, "tensor \"{}\" of {} \"{}\" holds {} at [{}, {}], the first that is not finite{}",
             buffer.name, instruction.op, instruction.name, found[at], at / columns, at % columns, bad_weight(i));
      }
    }
  });
}

void Program::throw_failure() {
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Program::drop_weights(const plan::Instruction& instruction) const {
  for (const Operand& operand : instruction.inputs) {
    if (operand.kind != OperandKind::constant) continue;
    engine_.file()->drop(engine_.constant(engine_.manifest().plan.constants[size_t(operand.index)]));
  }
}

}  // namespace lathe::runtime
