// Shares the panels of a linear layer out over a team; the arithmetic is in the tiers.
#include "backend/cpu/linear.h"

#include <algorithm>
#include <array>

#include "backend/cpu/linear_layout.h"
#include "backend/cpu/linear_tier.h"
#include "base/checked.h"

namespace lathe::backend::cpu {
namespace {

constexpr int64_t kMaxTile = 12;
constexpr int64_t kMaxGemvTokens = 8;
// Tokens that meet an unpacked chunk before the next one: their sums stay in the second-level cache.
constexpr int64_t kTokenBlock = 576;  // a multiple of every tile

constexpr size_t padded(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

// Bytes of activations of `tokens` tokens: values, scales, scaled sums, sums.
size_t activation_size(int64_t tokens, int64_t columns) {
  const size_t groups = size_t(ceil_div(columns, kBlockColumns));
  return padded(size_t(tokens * columns) * 4) + 2 * padded(size_t(tokens) * groups * 4) +
         padded(size_t(tokens) * groups * 8);
}

Activations place_activations(std::byte* memory, int64_t tokens, int64_t columns) {
  const size_t groups = size_t(ceil_div(columns, kBlockColumns));
  Activations act;
  act.values = memory;
  memory += padded(size_t(tokens * columns) * 4);
  act.scales = reinterpret_cast<float*>(memory);
  memory += padded(size_t(tokens) * groups * 4);
  act.scaled_sums = reinterpret_cast<float*>(memory);
  memory += padded(size_t(tokens) * groups * 4);
  act.sums = reinterpret_cast<int32_t*>(memory);
  return act;
}

// Private scratch of a member: rows being rounded, sums, unpacked weights, and activations of a few tokens.
struct MemberScratch {
  MemberScratch(std::byte* memory, int64_t columns) {
    rows = reinterpret_cast<float*>(memory);
    memory += padded(size_t(kMaxTile * columns) * 4);
    sums = reinterpret_cast<float*>(memory);
    memory += kSumsSize;
    gate_sums = sums + 4 * kMaxGemvTokens * 16;
    work = memory;
    activations = memory + kWorkSize;
  }
  static size_t size(int64_t columns) {
    return padded(size_t(kMaxTile * columns) * 4) + kSumsSize + kWorkSize +
           activation_size(kMaxGemvTokens, columns);
  }
  static constexpr size_t kSumsSize = size_t(kTokenBlock) * 2 * 16 * 4;
  float* rows;
  float* sums;
  float* gate_sums;  // gemv only
  std::byte* work;
  std::byte* activations;
};

bool is_gate(Activation activation) {
  return activation == Activation::silu_gate || activation == Activation::gelu_gate ||
         activation == Activation::gelu_tanh_gate;
}

Form form_of(Compute compute, const LinearTier& tier) {
  switch (compute) {
    case Compute::f32:
      return Form::f32;
    case Compute::f16:
      return Form::f32_from_f16;
    case Compute::bf16: {
      static const bool has_dot = has_avx512_bf16();
      const bool dot = tier.has_bf16_dot || (has_dot && &tier == &avx512::kLinearTier);
      return dot ? Form::bf16 : Form::f32_from_bf16;
    }
    case Compute::i8:
      return Form::i8;
    case Compute::i16:
      return Form::i16;
  }
  return Form::f32;
}

// A layer as seen by one member.
struct Layer {
  const LinearCall& call;
  const LinearTier& tier;
  Form form;
  TileShape* tiles;
  bool gated;
  int64_t outputs;

  Layer(const LinearCall& call_, const LinearTier& tier_, TileShape* tiles_)
      : call(call_),
        tier(tier_),
        form(form_of(call_.compute, tier_)),
        tiles(tiles_),
        gated(is_gate(call_.activation)),
        outputs(0) {
    for (const LinearPart& part : call.parts) outputs += part.rows;
    if (gated) outputs = call.parts[0].rows;
  }
  int64_t parts() const { return gated ? 1 : int64_t(call.parts.size()); }
  static int64_t panels(const LinearPart& part) { return ceil_div(part.rows, kPanelRows); }

  PrepareCall prepare(const Activations& out, float* rows) const {
    return {call.x,         call.tokens,  call.columns, call.norm, call.norm_scale,
            call.norm_bias, call.epsilon, form,         out,       rows};
  }

  // Where sums of panel `panel` of part `part` go, from token `first` on; `gate` is the second part's.
  FinishCall finish(int64_t part, int64_t first_output, int64_t panel, int64_t first, int64_t tokens) const {
    const LinearPart& weights = call.parts[size_t(part)];
    const int64_t row = panel * kPanelRows;
    const int64_t place = first * outputs + first_output + row;
    FinishCall finish = {};
    finish.tokens = tokens;
    finish.rows = int(std::min(kPanelRows, weights.rows - row));
    finish.bias = weights.bias ? weights.bias + row : nullptr;
    if (gated && call.parts[1].bias) finish.gate_bias = call.parts[1].bias + row;
    finish.activation = call.activation;
    finish.residual = call.residual ? call.residual + place : nullptr;
    finish.y = call.y + place;
    finish.output_stride = outputs;
    return finish;
  }
};

// Units of gemv work in a part.
int64_t gemv_units(const LinearPart& part) { return ceil_div(Layer::panels(part), kGemvPanels); }

// A member's panels for gemm: those of all parts are laid end to end and cut into equal lengths, at multiples of
// `grain` panels of a part. A gate's panels come in pairs.
class Share {
 public:
  Share(const Layer& layer, const TeamMember& member, int64_t grain) : grain_(grain) {
    int64_t total = 0;
    for (int64_t part = 0; part < layer.parts(); ++part) total += Layer::panels(layer.call.parts[size_t(part)]);
    begin_ = total * member.index() / member.size();
    end_ = total * (member.index() + 1) / member.size();
  }
  // For each part in order: its panels [begin, end).
  TeamMember::Range next(int64_t panels) {
    const TeamMember::Range range = {first_from(begin_, panels), first_from(end_, panels)};
    passed_ += panels;
    return range;
  }

 private:
  int64_t first_from(int64_t place, int64_t panels) const {
    if (place <= passed_) return 0;
    return std::min(ceil_div(place - passed_, grain_) * grain_, panels);
  }
  int64_t grain_, begin_ = 0, end_ = 0, passed_ = 0;
};

ProductCall product(const Layer& layer, const LinearPart& part, const Activations& act, float* sums,
                    std::byte* work) {
  ProductCall call = {};
  call.layout = part.layout;
  call.columns = layer.call.columns;
  call.form = layer.form;
  call.activations = act;
  call.sums = sums;
  call.work = work;
  call.tiles = layer.tiles;
  return call;
}

// Up to kGemvPanels neighbouring panels of a part, multiplied by all tokens.
void gemv_unit(const Layer& layer, const Activations& act, const MemberScratch& scratch, int64_t unit) {
  const LinearCall& call = layer.call;
  int64_t part = 0, first_output = 0;
  for (; unit >= gemv_units(call.parts[size_t(part)]); ++part) {
    unit -= gemv_units(call.parts[size_t(part)]);
    first_output += call.parts[size_t(part)].rows;
  }
  const int64_t panel = unit * kGemvPanels;
  const int64_t count = std::min(kGemvPanels, Layer::panels(call.parts[size_t(part)]) - panel);
  const auto multiply = [&](const LinearPart& weights, float* sums) {
    ProductCall products = product(layer, weights, act, sums, scratch.work);
    products.panels[0] = weights.weights + size_t(panel) * panel_bytes(weights.layout, call.columns);
    products.count = count;
    products.tokens = call.tokens;
    layer.tier.gemv(products);
  };
  multiply(call.parts[size_t(part)], scratch.sums);
  if (layer.gated) multiply(call.parts[1], scratch.gate_sums);
  for (int64_t p = 0; p < count; ++p) {
    FinishCall finish = layer.finish(part, first_output, panel + p, 0, call.tokens);
    finish.sums = scratch.sums + p * call.tokens * kPanelRows;
    if (layer.gated) finish.gate_sums = scratch.gate_sums + p * call.tokens * kPanelRows;
    finish.sum_stride = kPanelRows;
    layer.tier.finish(finish);
  }
}

// Few tokens: every member rounds them all for itself, so that no barrier is needed. Three quarters of the units
// are shared out beforehand in runs, which prefetching likes; the rest goes to whoever is free, because the
// processors of a shared host do not read memory equally fast.
void run_gemv(const Layer& layer, TeamMember& member, const MemberScratch& scratch) {
  const LinearCall& call = layer.call;
  Activations act = place_activations(scratch.activations, kMaxGemvTokens, call.columns);
  if (layer.form == Form::f32 && call.norm == Norm::none) {
    act.values = const_cast<float*>(call.x);  // read only from here on
  } else {
    layer.tier.prepare_rows(layer.prepare(act, scratch.rows));
  }
  int64_t units = 0;
  for (int64_t i = 0; i < layer.parts(); ++i) units += gemv_units(call.parts[size_t(i)]);
  const int64_t shared_out = member.size() == 1 ? units : units * 3 / 4;
  const TeamMember::Range mine = member.share(shared_out);
  member.begin_claims();
  for (int64_t unit = mine.begin; unit < mine.end; ++unit) gemv_unit(layer, act, scratch, unit);
  if (member.size() == 1) return;
  for (int64_t unit = shared_out + member.claim(); unit < units; unit = shared_out + member.claim()) {
    gemv_unit(layer, act, scratch, unit);
  }
}

int64_t tile_of(const LinearTier& tier, Form form) {
  switch (form) {
    case Form::i8:
      return tier.tile_i8;
    case Form::i16:
      return tier.tile_i16;
    case Form::bf16:
      return tier.tile_bf16;
    default:
      return tier.tile_f32;
  }
}

// Multiplies two panels (a gate's pair, or neighbours) or one by tokens from `first` on.
void gemm_panels(const Layer& layer, const Activations& act, int64_t part, int64_t first_output,
                 int64_t panel, int64_t count, int64_t first, int64_t tokens, const MemberScratch& scratch) {
  const LinearCall& call = layer.call;
  const LinearPart& weights = call.parts[size_t(part)];
  const auto at = [&](const LinearPart& from, int64_t p) {
    return from.weights + size_t(p) * panel_bytes(from.layout, call.columns);
  };
  ProductCall products = product(layer, weights, act, scratch.sums, scratch.work);
  products.tokens = align_up(tokens, tile_of(layer.tier, layer.form));
  products.panels[0] = at(weights, panel);
  products.count = count;
  if (!layer.gated) {
    if (count == 2) products.panels[1] = at(weights, panel + 1);
    layer.tier.gemm(products);
  } else if (call.parts[1].layout == weights.layout) {
    products.count = 2;
    products.panels[1] = at(call.parts[1], panel);
    layer.tier.gemm(products);
  } else {
    layer.tier.gemm(products);
    products.layout = call.parts[1].layout;
    products.panels[0] = at(call.parts[1], panel);
    products.sums += kPanelRows;
    layer.tier.gemm(products);
  }
  for (int64_t p = 0; p < count; ++p) {
    FinishCall finish = layer.finish(part, first_output, panel + p, first, tokens);
    finish.sums = scratch.sums + p * kPanelRows;
    if (layer.gated) finish.gate_sums = scratch.sums + kPanelRows;
    finish.sum_stride = 2 * kPanelRows;
    layer.tier.finish(finish);
  }
}

// The activations of tokens from `first` (a multiple of the tile) on.
Activations advance(Activations act, int64_t first, int64_t columns, Form form) {
  const int64_t size = form == Form::i8 ? 1 : form == Form::bf16 || form == Form::i16 ? 2 : 4;
  const int64_t groups = columns / kBlockColumns;
  act.values = static_cast<std::byte*>(act.values) + first * columns * size;
  act.scales += first * groups;
  act.scaled_sums += first * groups;
  act.sums += first * groups * 2;
  return act;
}

// Tokens that meet a panel before the next one does, whole tiles, and no more than there are sums for.
int64_t block_tokens(const Layer& layer, int64_t tile) {
  int64_t grain = tile, most = kTokenBlock;
  if (tile == 1) {
    grain = layer.tier.token_grain;
    most = std::clamp(layer.tier.block_bytes / (2 * layer.call.columns) / grain * grain, grain, kTokenBlock);
  }
  return align_up(ceil_div(layer.call.tokens, ceil_div(layer.call.tokens, most)), grain);
}

// Many tokens: members round a share of the tiles each, then multiply a share of the panels each by all
// tiles.
void run_gemm(const Layer& layer, TeamMember& member, const MemberScratch& scratch) {
  const LinearCall& call = layer.call;
  const int64_t tile = tile_of(layer.tier, layer.form);
  const int64_t tiles = ceil_div(call.tokens, tile);
  const Activations act = place_activations(call.scratch, tiles * tile, call.columns);
  const TeamMember::Range mine = member.share(tiles);
  layer.tier.prepare_tiles(layer.prepare(act, scratch.rows), mine.begin, mine.end);
  member.barrier();
  const int64_t block = block_tokens(layer, tile);
  const int64_t grain = layer.gated ? 1 : 2;
  for (int64_t first = 0; first < call.tokens; first += block) {
    const int64_t tokens = std::min(block, call.tokens - first);
    const Activations here = advance(act, first, call.columns, layer.form);
    Share share(layer, member, grain);
    int64_t first_output = 0;
    for (int64_t i = 0; i < layer.parts(); ++i) {
      const LinearPart& part = call.parts[size_t(i)];
      const TeamMember::Range range = share.next(Layer::panels(part));
      for (int64_t panel = range.begin; panel < range.end; panel += grain) {
        const int64_t count = std::min(grain, range.end - panel);
        gemm_panels(layer, here, i, first_output, panel, count, first, tokens, scratch);
      }
      first_output += part.rows;
    }
  }
}

void run(const LinearCall& call, TeamMember& member, const LinearTier& tier) noexcept {
  if (call.tokens == 0) return;
  TileUse tiles(tier.release);
  const Layer layer(call, tier, tiles.shape());
  const int64_t shared_tokens = align_up(call.tokens, kMaxTile);
  std::byte* memory = call.scratch + activation_size(shared_tokens, call.columns) +
                      MemberScratch::size(call.columns) * size_t(member.index());
  const MemberScratch scratch(memory, call.columns);
  if (call.tokens <= tier.gemv_tokens) {
    run_gemv(layer, member, scratch);
  } else {
    run_gemm(layer, member, scratch);
  }
}

void run_avx2(const LinearCall& call, TeamMember& member) noexcept {
  run(call, member, avx2::kLinearTier);
}
void run_avx512(const LinearCall& call, TeamMember& member) noexcept {
  run(call, member, avx512::kLinearTier);
}

void run_amx(const LinearCall& call, TeamMember& member) noexcept {
  run(call, member, amx::kLinearTier);
}
void run_amx_emulated(const LinearCall& call, TeamMember& member) noexcept {
  run(call, member, amx_emulated::kLinearTier);
}

constexpr std::array<std::string_view, 5> kComputeNames = {"f32", "bf16", "f16", "i8", "i16"};

}  // namespace

std::string_view to_string(Compute compute) {
  return kComputeNames[size_t(compute)];
}

size_t linear_scratch_size(int64_t max_tokens, int64_t columns, int threads) {
  LATHE_CHECK(max_tokens >= 0 && columns > 0 && threads > 0, "{} tokens, {} columns, {} threads", max_tokens,
              columns, threads);
  const size_t shared = activation_size(align_up(max_tokens, kMaxTile), columns);
  return shared + MemberScratch::size(columns) * size_t(threads);
}

std::optional<std::string_view> linear_refusal(Layout layout, Compute compute, int64_t columns) {
  if (columns <= 0) return "no columns";
  if (columns % column_multiple(layout) != 0) {
    if (is_super_block(layout)) return "columns are not a multiple of 256";
    return is_block_layout(layout) ? "columns are not a multiple of 32" : "columns are odd";
  }
  switch (compute) {
    case Compute::f32:
      return std::nullopt;
    case Compute::bf16:
      if (layout != Layout::bf16_panel) return "bf16 products need bf16 weights";
      return std::nullopt;
    case Compute::f16:
      if (layout != Layout::f16_panel) return "f16 products need f16 weights";
      return std::nullopt;
    case Compute::i8:
    case Compute::i16:
      if (!is_block_layout(layout)) return "integer products need weights in blocks of 4 to 8 bits";
      return std::nullopt;
  }
  return "an unknown kind of products";
}

LinearKernel linear_kernel(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return run_avx2;
    case Isa::avx512:
      return run_avx512;
    case Isa::amx:
      return run_amx;
    case Isa::amx_emulated:
      return run_amx_emulated;
  }
  fail(ErrorCode::internal, "isa {}", int(isa));
}

}  // namespace lathe::backend::cpu
