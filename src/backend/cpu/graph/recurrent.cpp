// LSTM, GRU and RNN of f32 with their default activations: the products of all inputs at once, then step by step.
//
// Hidden units go in blocks of 16. The rows of W and R are packed into panels block by block, the gates of a block side
// by side, so that a member that owns some blocks computes their sums and their gates alone. Where there are directions
// or rows of the batch enough, each member walks its own; else it walks its blocks, with a barrier a step, or, where a
// step is too little work for that, one member walks all.
#include <algorithm>
#include <cstring>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/products.h"
#include "backend/cpu/recurrent.h"
#include "backend/cpu/tiers.h"

namespace lathe::backend {
namespace {

enum Input : size_t { kX, kWeights, kRecurrence, kBias, kLengths, kInitialH, kInitialC, kPeepholes };
constexpr int64_t kBlock = 16;
constexpr int64_t kWorthABarrier = 200'000;  // products of a step: about 5 microseconds of one member

enum class Cell : uint8_t { lstm, gru, rnn };

struct Prepared {
  Cell cell;
  int64_t directions, steps, batch, width, hidden, blocks;
  int64_t gates;  // of W
  int64_t main;   // gates whose R multiplies H at once: all of them, but for GRU without the hidden one
  bool batch_first, backward_first, linear_first;
  std::vector<float> packed;  // of known weights, see PackedParts
  const float* panels = nullptr;

  int64_t padded() const { return blocks * kBlock; }
  int64_t rows() const { return steps * batch; }
};

// Floats of one direction's panels: W [blocks * gates][width][16], R [blocks * main][hidden][16], and for GRU the
// hidden gate's [blocks][hidden][16].
struct PackedParts {
  explicit PackedParts(const Prepared& p)
      : state(p.padded() * p.gates * p.width), hidden(state + p.padded() * p.main * p.hidden),
        all(hidden + p.padded() * (p.gates - p.main) * p.hidden) {}
  int64_t state, hidden, all;
};

// The rows [16 block, 16 block + 16) of gate `gate` of w [gates, hidden, columns] as panel `to` of `panels`.
void pack_gate(const Prepared& p, const float* w, int64_t columns, int64_t gate, int64_t block, int64_t to,
               float* panels) noexcept {
  const cpu::MatrixView view{w + gate * p.hidden * columns, columns, p.hidden, 1, columns};
  cpu::pack_columns(view, block, block + 1, panels + (to - block) * columns * kBlock);
}

void pack_block(const Prepared& p, const float* w, const float* r, int64_t block, float* panels) noexcept {
  const PackedParts parts(p);
  for (int64_t gate = 0; gate < p.gates; ++gate) {
    pack_gate(p, w, p.width, gate, block, block * p.gates + gate, panels);
    const bool main = gate < p.main;
    pack_gate(p, r, p.hidden, gate, block, main ? block * p.main + gate : block,
              panels + (main ? parts.state : parts.hidden));
  }
}

// Panels of items [begin, end) of directions * blocks.
void pack(const Prepared& p, const float* w, const float* r, int64_t begin, int64_t end, float* panels) noexcept {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t d = i / p.blocks;
    pack_block(p, w + d * p.gates * p.hidden * p.width, r + d * p.gates * p.hidden * p.hidden, i % p.blocks,
               panels + d * PackedParts(p).all);
  }
}

std::vector<std::string> default_activations(const std::string& op) {
  if (op == "LSTM") return {"Sigmoid", "Tanh", "Tanh"};
  return op == "GRU" ? std::vector<std::string>{"Sigmoid", "Tanh"} : std::vector<std::string>{"Tanh"};
}

Prepared sizes_of(const Problem& problem);

// Whether all inputs are f32 of the lengths that X, W and R together ask for; inference does not look at them.
bool lengths_fit(const Problem& problem) {
  const auto dims_of = [&](size_t i) -> const tensor::Dims& { return problem.inputs[i].dims; };
  if (dims_of(kX).size() != 3 || dims_of(kWeights).size() != 3 || dims_of(kRecurrence).size() != 3) return false;
  const Prepared p = sizes_of(problem);
  const int64_t rows = p.gates * p.hidden,
                directions = problem.attributes().get_string("direction", "forward") == "bidirectional" ? 2 : 1;
  const tensor::Dims states =
      p.batch_first ? tensor::Dims{p.batch, p.directions, p.hidden} : tensor::Dims{p.directions, p.batch, p.hidden};
  const auto is = [&](size_t i, const tensor::Dims& dims) {
    return !problem.has_input(i) || (is_f32(problem.inputs[i]) && dims_of(i) == dims);
  };
  const bool counted = !problem.has_input(kLengths) || (problem.inputs[kLengths].dtype == tensor::DType::i32 &&
                                                        dims_of(kLengths) == tensor::Dims{p.batch});
  return p.directions == directions && is(kWeights, {directions, rows, p.width}) &&
         is(kRecurrence, {directions, rows, p.hidden}) && is(kBias, {directions, 2 * rows}) && is(kInitialH, states) &&
         is(kInitialC, states) && counted;
}

std::optional<std::string> fit(Problem& problem) {
  const op::Attributes& attributes = problem.attributes();
  if (!is_f32(problem.inputs[kX])) return "x that is not f32";
  if (!lengths_fit(problem)) return "weights or states of other lengths";
  if (problem.has_input(kPeepholes)) return "peepholes";
  if (attributes.has("clip")) return "a clip";
  if (attributes.get_int("input_forget", 0) != 0) return "coupled gates";
  const auto defaults = default_activations(problem.instruction->op);
  const auto activations = attributes.find_strings("activations").value_or(defaults);
  for (size_t i = 0; i < activations.size(); ++i) {
    if (activations[i] != defaults[i % defaults.size()]) return "activations other than the default ones";
  }
  for (const size_t i : {kX, kWeights, kRecurrence}) {
    if (problem.inputs[i].size() == 0) return "nothing to compute";
  }
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

Prepared sizes_of(const Problem& problem) {
  const op::Attributes& attributes = problem.attributes();
  const tensor::Dims& x = problem.inputs[kX].dims;
  Prepared p;
  p.cell = problem.instruction->op == "LSTM" ? Cell::lstm : problem.instruction->op == "GRU" ? Cell::gru : Cell::rnn;
  p.gates = p.cell == Cell::lstm ? 4 : p.cell == Cell::gru ? 3 : 1;
  p.main = p.cell == Cell::gru ? 2 : p.gates;
  p.batch_first = attributes.get_int("layout", 0) == 1;
  p.backward_first = attributes.get_string("direction", "forward") == "reverse";
  p.linear_first = attributes.get_int("linear_before_reset", 0) != 0;
  p.directions = problem.inputs[kWeights].dims[0];
  p.steps = x[p.batch_first ? 1 : 0];
  p.batch = x[p.batch_first ? 0 : 1];
  p.width = x[2];
  p.hidden = problem.inputs[kRecurrence].dims[2];
  p.blocks = (p.hidden + kBlock - 1) / kBlock;
  return p;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>(sizes_of(problem));
  if (problem.inputs[kWeights].known && problem.inputs[kRecurrence].known) {
    p->packed.resize(size_t(PackedParts(*p).all * p->directions + kBlock));
    void* begin = p->packed.data();
    size_t space = p->packed.size() * sizeof(float);
    float* panels = static_cast<float*>(std::align(64, 1, begin, space));
    pack(*p, problem.inputs[kWeights].known->data<float>().data(),
         problem.inputs[kRecurrence].known->data<float>().data(), 0, p->directions * p->blocks, panels);
    p->panels = panels;
  }
  return p;
}

// Offsets in scratch, in floats; all multiples of 16.
struct Space {
  // By direction: bias of the main gates [main, block], of the hidden gate of the input and of the state.
  int64_t bias, hidden_bias, hidden_state_bias;
  int64_t inputs;  // X W^T: [directions][steps * batch][blocks][gates][16]
  int64_t sums;    // H R^T: [directions][batch][blocks][main][16]
  int64_t hidden_sums;
  int64_t reset;    // r H
  int64_t h[2], c;  // [directions][batch][padded]
  int64_t panels;
  int64_t tiles;  // of each member
  int64_t all;

  Space(const Prepared& p, bool known, int threads) {
    const int64_t state = p.directions * p.batch * p.padded();
    int64_t at = 0;
    const auto take = [&](int64_t floats) { return std::exchange(at, at + (floats + 15) / 16 * 16); };
    bias = take(p.directions * p.padded() * p.main);
    hidden_bias = take(p.directions * p.padded());
    hidden_state_bias = take(p.directions * p.padded());
    inputs = take(p.directions * p.rows() * p.padded() * p.gates);
    sums = take(state * p.main);
    hidden_sums = take(state);
    reset = take(state);
    h[0] = take(state);
    h[1] = take(state);
    c = take(state);
    panels = take(known ? 0 : PackedParts(p).all * p.directions);
    tiles = take(cpu::kTileFloats * threads);
    all = at;
  }
};

size_t scratch_size(const Problem& problem) {
  const bool known = problem.inputs[kWeights].known && problem.inputs[kRecurrence].known;
  return size_t(Space(sizes_of(problem), known, problem.threads).all) * sizeof(float);
}

// A call with its working space.
struct Layer {
  const GraphCall& call;
  const Prepared& p;
  const cpu::ConvTier& products;
  const cpu::RecurrentTier& gates;
  Space space;
  float* scratch;
  const float* panels;
  float* tile;  // the member's

  Layer(const GraphCall& c, const TeamMember& member)
      : call(c),
        p(*static_cast<const Prepared*>(c.prepared)),
        products(cpu::conv_tier(*c.problem)),
        gates(cpu::isa_of(*c.problem) == cpu::Isa::avx2 ? cpu::avx2::kRecurrentTier : cpu::avx512::kRecurrentTier),
        space(p, p.panels != nullptr, c.problem->threads),
        scratch(reinterpret_cast<float*>(c.scratch)),
        panels(p.panels ? p.panels : scratch + space.panels),
        tile(scratch + space.tiles + cpu::kTileFloats * member.index()) {}

  int64_t length(int64_t b) const { return call.input<int32_t>(kLengths) ? call.input<int32_t>(kLengths)[b] : p.steps; }
  int64_t state_row(int64_t d, int64_t b) const { return (d * p.batch + b) * p.padded(); }
  // Of initial and last states, which follow `layout`.
  int64_t outer_row(int64_t d, int64_t b) const {
    return (p.batch_first ? b * p.directions + d : d * p.batch + b) * p.hidden;
  }
  int64_t input_row(int64_t t, int64_t b) const { return p.batch_first ? b * p.steps + t : t * p.batch + b; }
  float* result(int64_t t, int64_t d, int64_t b) const {
    const int64_t row = p.batch_first ? (b * p.steps + t) * p.directions + d : (t * p.directions + d) * p.batch + b;
    return call.output(0) + row * p.hidden;
  }
  bool lengths_are_good() const {
    for (int64_t b = 0; b < p.batch; ++b) {
      if (length(b) < 0 || length(b) > p.steps) return false;
    }
    return true;
  }

  void spread_bias(int64_t d) const noexcept;
  void load_states(int64_t d, int64_t b) const noexcept;
  void multiply_inputs(const TeamMember& member) const noexcept;
};

// The biases of a direction in the order of the panels, zero for units that do not exist.
void Layer::spread_bias(int64_t d) const noexcept {
  const float* given = call.input(kBias) ? call.input(kBias) + d * 2 * p.gates * p.hidden : nullptr;
  const auto at = [&](int64_t part, int64_t gate, int64_t unit) {
    return given && unit < p.hidden ? given[(part * p.gates + gate) * p.hidden + unit] : 0.0f;
  };
  for (int64_t unit = 0; unit < p.padded(); ++unit) {
    const int64_t block = unit / kBlock, lane = unit % kBlock;
    for (int64_t gate = 0; gate < p.main; ++gate) {
      scratch[space.bias + ((d * p.blocks + block) * p.main + gate) * kBlock + lane] =
          at(0, gate, unit) + at(1, gate, unit);
    }
    if (p.cell != Cell::gru) continue;
    scratch[space.hidden_bias + d * p.padded() + unit] = at(0, 2, unit);
    scratch[space.hidden_state_bias + d * p.padded() + unit] = at(1, 2, unit);
  }
}

void Layer::load_states(int64_t d, int64_t b) const noexcept {
  const auto load = [&](const float* given, int64_t place) {
    float* to = scratch + place + state_row(d, b);
    std::fill(to, to + p.padded(), 0.0f);
    if (given) std::memcpy(to, given + outer_row(d, b), size_t(p.hidden) * sizeof(float));
  };
  load(call.input(kInitialH), space.h[0]);
  load(nullptr, space.h[1]);
  if (p.cell == Cell::lstm) load(call.input(kInitialC), space.c);
}

void Layer::multiply_inputs(const TeamMember& member) const noexcept {
  const int64_t count = p.blocks * p.gates;
  const bool by_rows = p.rows() >= member.size() * 2 * cpu::kMaxTileRows;
  const auto [first_row, last_row] =
      by_rows ? member.share(p.rows(), cpu::kMaxTileRows) : TeamMember::Range{0, p.rows()};
  const auto [first, end] = by_rows ? TeamMember::Range{0, count} : member.share(count);
  for (int64_t d = 0; d < p.directions; ++d) {
    cpu::multiply_panels(products, {.a = call.input(kX) + first_row * p.width,
                                    .a_stride = p.width,
                                    .rows = last_row - first_row,
                                    .k = p.width,
                                    .n = count * kBlock,
                                    .panels = panels + d * PackedParts(p).all,
                                    .first = first,
                                    .end = end,
                                    .y = scratch + space.inputs + (d * p.rows() + first_row) * count * kBlock,
                                    .y_stride = count * kBlock,
                                    .sums = tile});
  }
}

// Rows and blocks of one direction that a member walks through time.
struct Share {
  int64_t direction, first_row, last_row, first_block, last_block;
  TeamMember* team;  // whose barrier ends a step; null: it walks alone
};

// to[row] = from[row] R^T for the share's rows and blocks, `gates` panels a block.
void multiply_state(const Layer& l, const Share& s, int64_t from, int64_t panels, int64_t gates, int64_t to) noexcept {
  const Prepared& p = l.p;
  const int64_t row = s.direction * p.batch + s.first_row;
  const int64_t width = p.padded() * gates;
  cpu::multiply_panels(l.products, {.a = l.scratch + from + row * p.padded(),
                                    .a_stride = p.padded(),
                                    .rows = s.last_row - s.first_row,
                                    .k = p.hidden,
                                    .n = width,
                                    .panels = l.panels + s.direction * PackedParts(p).all + panels,
                                    .first = s.first_block * gates,
                                    .end = s.last_block * gates,
                                    .y = l.scratch + to + row * width,
                                    .y_stride = width,
                                    .sums = l.tile});
}

cpu::GatesCall gates_of(const Layer& l, const Share& s, int64_t row, int64_t t, int64_t from, int64_t to) noexcept {
  const Prepared& p = l.p;
  const int64_t d = s.direction, unit = s.first_block * kBlock;
  const int64_t state = l.state_row(d, row) + unit;
  const auto at = [&](int64_t place) { return l.scratch + place; };
  return {.input = at(l.space.inputs) + ((d * p.rows() + l.input_row(t, row)) * p.padded() + unit) * p.gates,
          .state = at(l.space.sums) + state * p.main,
          .bias = at(l.space.bias) + (d * p.padded() + unit) * p.main,
          .blocks = s.last_block - s.first_block,
          .h = at(from) + state,
          .c = at(l.space.c) + state,
          .next = at(to) + state,
          .hidden_state = at(l.space.hidden_sums) + state,
          .hidden_bias = at(l.space.hidden_bias) + d * p.padded() + unit,
          .hidden_state_bias = at(l.space.hidden_state_bias) + d * p.padded() + unit,
          .linear_first = p.linear_first};
}

void walk_step(const Layer& l, const Share& s, int64_t step) noexcept {
  const Prepared& p = l.p;
  const PackedParts parts(p);
  const int64_t from = l.space.h[step % 2], to = l.space.h[(step + 1) % 2];
  const bool backward = s.direction == 1 || p.backward_first;
  const auto time = [&](int64_t row) {
    const int64_t length = l.length(row);
    return step < length && backward ? length - 1 - step : step;
  };
  multiply_state(l, s, from, parts.state, p.main, l.space.sums);
  if (p.cell == Cell::gru) {
    if (!p.linear_first) {
      for (int64_t row = s.first_row; row < s.last_row; ++row) {
        l.gates.gru_reset(gates_of(l, s, row, time(row), from, l.space.reset));
      }
      if (s.team) s.team->barrier();
    }
    multiply_state(l, s, p.linear_first ? from : l.space.reset, parts.hidden, 1, l.space.hidden_sums);
  }
  const auto gates = p.cell == Cell::lstm ? l.gates.lstm : p.cell == Cell::gru ? l.gates.gru : l.gates.rnn;
  const int64_t unit = s.first_block * kBlock;
  const size_t bytes = size_t(std::min(s.last_block * kBlock, p.hidden) - unit) * sizeof(float);
  for (int64_t row = s.first_row; row < s.last_row; ++row) {
    const cpu::GatesCall call = gates_of(l, s, row, time(row), from, to);
    const bool over = step >= l.length(row);
    if (over) {  // the state stays, the result is zero
      std::memcpy(call.next, call.h, size_t(call.blocks * kBlock) * sizeof(float));
    } else {
      gates(call);
    }
    if (l.call.outputs.empty()) continue;
    float* y = l.result(time(row), s.direction, row) + unit;
    if (over) {
      std::memset(y, 0, bytes);
    } else {
      std::memcpy(y, call.next, bytes);
    }
  }
  if (s.team) s.team->barrier();
}

void walk(const Layer& l, const Share& s) noexcept {
  const Prepared& p = l.p;
  // A member without blocks still meets the others.
  for (int64_t step = 0; step < p.steps; ++step) walk_step(l, s, step);
  const int64_t unit = s.first_block * kBlock;
  if (unit >= p.hidden) return;
  const size_t bytes = size_t(std::min(s.last_block * kBlock, p.hidden) - unit) * sizeof(float);
  for (int64_t row = s.first_row; row < s.last_row; ++row) {
    const int64_t from = l.state_row(s.direction, row) + unit, to = l.outer_row(s.direction, row) + unit;
    if (l.call.outputs.size() > 1) std::memcpy(l.call.output(1) + to, l.scratch + l.space.h[p.steps % 2] + from, bytes);
    if (l.call.outputs.size() > 2) std::memcpy(l.call.output(2) + to, l.scratch + l.space.c + from, bytes);
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const Layer l(call, member);
  const Prepared& p = l.p;
  if (!l.lengths_are_good()) return call.refuse();  // everyone sees the same
  if (!p.panels) {
    const auto [begin, end] = member.share(p.directions * p.blocks);
    pack(p, call.input(kWeights), call.input(kRecurrence), begin, end, l.scratch + l.space.panels);
  }
  const auto [first, last] = member.share(p.directions * p.batch);
  for (int64_t i = first; i < last; ++i) l.load_states(i / p.batch, i % p.batch);
  if (member.index() == 0) {
    for (int64_t d = 0; d < p.directions; ++d) l.spread_bias(d);
  }
  if (!p.panels) member.barrier();
  l.multiply_inputs(member);
  member.barrier();
  if (p.directions >= member.size()) {
    const auto [begin, end] = member.share(p.directions);
    for (int64_t d = begin; d < end; ++d) walk(l, {d, 0, p.batch, 0, p.blocks, nullptr});
    return;
  }
  if (p.batch >= member.size()) {
    const auto [begin, end] = member.share(p.batch);
    for (int64_t d = 0; d < p.directions; ++d) walk(l, {d, begin, end, 0, p.blocks, nullptr});
    return;
  }
  const bool together = p.batch * p.gates * p.hidden * p.hidden >= kWorthABarrier;
  if (!together && member.index() != 0) return;
  const auto [begin, end] = together ? member.share(p.blocks) : TeamMember::Range{0, p.blocks};
  for (int64_t d = 0; d < p.directions; ++d) walk(l, {d, 0, p.batch, begin, end, together ? &member : nullptr});
}

}  // namespace

const GraphKernel& recurrent_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.recurrent",
                                     .ops = {"GRU", "LSTM", "RNN"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
