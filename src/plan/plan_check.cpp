#include <algorithm>
#include <array>
#include <map>
#include <queue>
#include <set>

#include "base/checked.h"
#include "op/op.h"
#include "plan/liveness.h"
#include "plan/plan.h"

namespace lathe::plan {
namespace {

// Bytes per row of an arena or a buffer: far above any model, and small enough that a step's row count times
// it cannot overflow.
constexpr int64_t kMaxRowBytes = int64_t{1} << 32;
constexpr int64_t kMaxStateSize = int64_t{1} << 20;

template <class... Args>
[[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) {
  fail(ErrorCode::invalid_input, "{}", fmt::format(format, std::forward<Args>(args)...));
}

void check_name(std::string_view what, std::string_view found, std::initializer_list<std::string_view> known) {
  if (std::find(known.begin(), known.end(), found) != known.end()) return;
  bad("{}: expected one of {}, found \"{}\"", what, fmt::join(known, ", "), found);
}

// What the runtime fills in must be what it believes it fills.
void check_runtime_input(const Buffer& buffer) {
  struct Form {
    std::string_view name;
    tensor::DType dtype;
    Rows rows;
  };
  using tensor::DType;
  static constexpr std::array<Form, 6> kForms = {{
      {kTokenIds, DType::i64, Rows::tokens},
      {kPositions, DType::i64, Rows::tokens},
      {kFirstToken, DType::i32, Rows::sequences_one},
      {kFirstPosition, DType::i32, Rows::sequences},
      {kBlockTable, DType::i32, Rows::sequences},
      {kOutputRows, DType::i64, Rows::outputs},
  }};
  for (const Form& form : kForms) {
    if (form.name != buffer.name) continue;
    if (form.dtype == buffer.dtype && form.rows == buffer.rows && buffer.columns == 0) return;
    bad("expected {}[{}], found {}[{}, {}]", tensor::to_string(form.dtype), to_string(form.rows),
        tensor::to_string(buffer.dtype), to_string(buffer.rows), buffer.columns);
  }
}

void check_buffer(const Buffer& buffer) {
  const int width = tensor::bits(buffer.dtype);
  if (width == 0 || width % 8 != 0) bad("a buffer cannot hold {}", tensor::to_string(buffer.dtype));
  if (buffer.columns < 0 || buffer.columns > kMaxRowBytes) bad("{} columns", buffer.columns);
  if (row_bytes(buffer) > kMaxRowBytes) bad("{} bytes per row", row_bytes(buffer));
  if (buffer.offset < 0 || buffer.offset > kMaxRowBytes) bad("offset {} is out of range", buffer.offset);
  if (buffer.offset % (width / 8) != 0) bad("offset {} is not aligned", buffer.offset);
  if (placed_by_runtime(buffer.name)) check_runtime_input(buffer);
}

void check_constant(const Constant& constant) {
  const int64_t elements = tensor::element_count(std::span(constant.dims));
  if (constant.layout.empty()) bad("the layout has no name");
  int64_t stored = 0;
  if (constant.encoding == tensor::Encoding::plain) {
    if (tensor::bits(constant.dtype) == 0) bad("{} has no fixed size", tensor::to_string(constant.dtype));
    stored = checked_cast<int64_t>(tensor::byte_size(constant.dtype, elements), "bytes");
  } else {
    if (constant.dims.empty()) bad("a scalar stored as {}", tensor::to_string(constant.encoding));
    const int64_t row = constant.dims.back();
    const auto bytes = checked_cast<int64_t>(tensor::row_bytes(constant.encoding, row), "row bytes");
    stored = row == 0 ? 0 : checked_mul(elements / row, bytes, "bytes");
  }
  // A packed layout may add padding; how much, the kernel that reads it checks.
  const bool fits = constant.layout == "plain" ? constant.bytes == stored : constant.bytes >= stored;
  if (!fits) {
    bad("{} {}{} as {}: expected {} bytes, found {}", tensor::to_string(constant.dtype),
        tensor::to_string(constant.encoding), tensor::to_string(std::span(constant.dims)), constant.layout, stored,
        constant.bytes);
  }
  if (constant.offset < 0 || constant.offset % 64 != 0) bad("offset {} is no multiple of 64", constant.offset);
  checked_add(constant.offset, constant.bytes, "end of constant");
}

void check_state(const State& state) {
  check_name("kind", state.kind, {"append"});
  for (const int64_t size : {state.kv_heads, state.head_dim}) {
    if (size < 1 || size > kMaxStateSize) bad("a cache of {} heads of {}", state.kv_heads, state.head_dim);
  }
}

void check_operand(const Plan& plan, const Operand& operand) {
  const size_t count = operand.kind == OperandKind::buffer     ? plan.buffers.size()
                       : operand.kind == OperandKind::constant ? plan.constants.size()
                       : operand.kind == OperandKind::state    ? plan.states.size()
                                                               : 0;
  if (operand.kind == OperandKind::absent) return;
  if (operand.index < 0 || uint64_t(operand.index) >= count) {
    bad("{} {} does not exist, there are {}", to_string(operand.kind), operand.index, count);
  }
}

enum class Written : uint8_t { never, later, already };

void check_instruction(const Plan& plan, const Instruction& instruction, std::vector<Written>& written) {
  const op::OpDef* def = op::find_op(instruction.op);
  if (!def) bad("no operator named \"{}\"", instruction.op);
  op::check_signature(*def, instruction.inputs.size(), instruction.outputs.size(), instruction.attributes);
  if (instruction.kernel.empty()) bad("no kernel is named");
  for (size_t i = 0; i < instruction.inputs.size(); ++i) {
    const Operand& input = instruction.inputs[i];
    if (input.kind != OperandKind::buffer || written[size_t(input.index)] != Written::later) continue;
    bad("input {}: buffer \"{}\" is read before it is written", i, plan.buffers[size_t(input.index)].name);
  }
  for (size_t i = 0; i < instruction.outputs.size(); ++i) {
    const Operand& output = instruction.outputs[i];
    if (output.kind == OperandKind::constant) bad("output {} is a constant", i);
    if (output.kind != OperandKind::buffer) continue;
    const std::string& name = plan.buffers[size_t(output.index)].name;
    if (written[size_t(output.index)] == Written::already) bad("output {}: buffer \"{}\" is written twice", i, name);
    if (placed_by_runtime(name)) bad("output {} is the step's input \"{}\"", i, name);
    written[size_t(output.index)] = Written::already;
  }
}

std::string where(const Instruction& instruction, size_t index) {
  return fmt::format("instruction {} {} \"{}\"", index, instruction.op, instruction.name);
}

void check_instructions(const Plan& plan) {
  std::vector<Written> written(plan.buffers.size(), Written::never);
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const Instruction& instruction = plan.instructions[i];
    const auto check_all = [&](std::string_view side, const std::vector<Operand>& operands) {
      for (size_t k = 0; k < operands.size(); ++k) {
        with_context(fmt::format("{} {}", side, k), [&] { check_operand(plan, operands[k]); });
      }
    };
    with_context(where(instruction, i), [&] {
      check_all("input", instruction.inputs);
      check_all("output", instruction.outputs);
    });
    for (const Operand& output : instruction.outputs) {
      if (output.kind == OperandKind::buffer) written[size_t(output.index)] = Written::later;
    }
  }
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    with_context(where(plan.instructions[i], i), [&] { check_instruction(plan, plan.instructions[i], written); });
  }
}

// The buffers of one kind that live at the moment, by offset.
class LiveSet {
 public:
  LiveSet(const Plan& plan, const std::vector<Lifetime>& lives) : plan_(plan), lives_(lives) {}

  void enter(size_t index) {
    const Lifetime& life = lives_[index];
    const Buffer& buffer = plan_.buffers[index];
    while (!ends_.empty() && ends_.top().first < life.begin) {
      leave(ends_.top().second);
      ends_.pop();
    }
    if (life.in_place_of >= 0 && plan_.buffers[size_t(life.in_place_of)].offset == buffer.offset) {
      leave(size_t(life.in_place_of));
    }
    const auto above = by_offset_.lower_bound(buffer.offset);
    if (above != by_offset_.end() && above->first < buffer.offset + row_bytes(buffer)) collide(index, above->second);
    if (above != by_offset_.begin()) {
      const Buffer& below = plan_.buffers[std::prev(above)->second];
      if (below.offset + row_bytes(below) > buffer.offset) collide(index, std::prev(above)->second);
    }
    by_offset_.emplace(buffer.offset, index);
    ends_.push({life.end, index});
  }

 private:
  void leave(size_t index) {
    // A buffer whose place was taken has left before its end is reached.
    const auto it = by_offset_.find(plan_.buffers[index].offset);
    if (it != by_offset_.end() && it->second == index) by_offset_.erase(it);
  }
  [[noreturn]] void collide(size_t a, size_t b) const {
    const Buffer& one = plan_.buffers[a];
    const Buffer& other = plan_.buffers[b];
    bad("buffers \"{}\" at {}+{} and \"{}\" at {}+{} overlap while both are live", one.name, one.offset, row_bytes(one),
        other.name, other.offset, row_bytes(other));
  }

  const Plan& plan_;
  const std::vector<Lifetime>& lives_;
  std::map<int64_t, size_t> by_offset_;
  using End = std::pair<int64_t, size_t>;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
};

// Buffers of `kind` lie in [low, high) of their arena and do not meet. Gives the end of the highest.
int64_t check_places(const Plan& plan, const std::vector<Lifetime>& lives, Rows kind, int64_t low, int64_t high) {
  std::vector<size_t> order;
  int64_t top = low;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const Buffer& buffer = plan.buffers[i];
    if (buffer.rows != kind || placed_by_runtime(buffer.name)) continue;
    const int64_t end = buffer.offset + row_bytes(buffer);
    if (buffer.offset < low || end > high) {
      bad("buffer \"{}\" at {}+{} is outside [{}, {}) of the arena of {}", buffer.name, buffer.offset,
          row_bytes(buffer), low, high, to_string(kind));
    }
    top = std::max(top, end);
    order.push_back(i);
  }
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return std::pair(lives[a].begin, a) < std::pair(lives[b].begin, b); });
  LiveSet live(plan, lives);
  for (const size_t index : order) live.enter(index);
  return top;
}

void check_arenas(const Plan& plan) {
  for (const int64_t bytes : {plan.arena_tokens, plan.arena_outputs, plan.arena_sequences}) {
    if (bytes < 0 || bytes > 2 * kMaxRowBytes) bad("an arena of {} bytes per row", bytes);
  }
  const std::vector<Lifetime> lives = lifetimes(plan);
  check_places(plan, lives, Rows::tokens, 0, plan.arena_tokens);
  check_places(plan, lives, Rows::outputs, 0, plan.arena_outputs);
  const int64_t sequences = check_places(plan, lives, Rows::sequences, 0, plan.arena_sequences);
  check_places(plan, lives, Rows::sequences_one, sequences, plan.arena_sequences);
}

void check_logits(const Plan& plan) {
  if (plan.logits == -1) return;
  if (plan.logits < 0 || uint64_t(plan.logits) >= plan.buffers.size()) {
    bad("logits: buffer {} does not exist, there are {}", plan.logits, plan.buffers.size());
  }
  const Buffer& buffer = plan.buffers[size_t(plan.logits)];
  if (buffer.dtype == tensor::DType::f32 && buffer.rows == Rows::outputs && buffer.columns > 0) return;
  bad("logits: expected f32[outputs, vocabulary], found {}[{}, {}]", tensor::to_string(buffer.dtype),
      to_string(buffer.rows), buffer.columns);
}

template <class T, class Check>
void check_each(std::string_view what, const std::vector<T>& items, Check&& check_one) {
  for (size_t i = 0; i < items.size(); ++i) {
    with_context(fmt::format("{} {} \"{}\"", what, i, items[i].name), [&] { check_one(items[i]); });
  }
}

}  // namespace

void check(const Plan& plan) {
  if (plan.device.empty()) bad("no device is named");
  check_name("compute", plan.compute, {"f32", "bf16", "f16", "i8", "i16"});
  check_name("kv", plan.kv, {"f32", "f16", "bf16"});
  // A plan without a cache needs no block.
  const int64_t least_block = plan.states.empty() ? 0 : 1;
  if (plan.kv_block < least_block || plan.kv_block > kMaxStateSize) bad("kv_block {} is out of range", plan.kv_block);
  check_each("buffer", plan.buffers, check_buffer);
  check_each("constant", plan.constants, check_constant);
  check_each("state", plan.states, check_state);
  std::set<std::string_view> names;
  for (const Buffer& buffer : plan.buffers) {
    if (!names.insert(buffer.name).second) bad("two buffers are named \"{}\"", buffer.name);
  }
  check_logits(plan);
  check_instructions(plan);
  check_arenas(plan);
}

}  // namespace lathe::plan
