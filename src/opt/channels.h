// Constants of one number for each channel, and convolutions that take them up.
#pragma once

#include <optional>
#include <vector>

#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {

// The numbers of an f32 constant.
std::optional<std::vector<double>> constant_numbers(const ir::Graph& graph, ir::Value value);
// The numbers of an f32 constant that a value of rank `rank` with `channels` on axis 1 meets there and nowhere else:
// [channels, 1, ..], [1, channels, 1, ..], or one number for all.
std::optional<std::vector<double>> channel_numbers(const ir::Graph& graph, ir::Value value, size_t rank,
                                                   int64_t channels);

// Weights [features, ...] of plain f32, each feature times its factor (one for all, or one each), as they are read: a
// model's folded weights are never in memory all at once.
tensor::SourcePtr scaled_rows(tensor::SourcePtr base, std::vector<double> scale);
// The same of [rows, columns], one factor a column.
tensor::SourcePtr scaled_columns(tensor::SourcePtr base, std::vector<double> scale);

// y = x scale + shift, for each channel: what a BatchNormalization of f32 constants computes.
struct ScaleShift {
  std::vector<double> scale, shift;
};
// nullopt where a statistic is not constant, their lengths differ, or it trains.
std::optional<ScaleShift> find_batch_normalization(const ir::Graph& graph, const ir::Node& node);

// A convolution whose weights and bias are f32 constants and whose result nothing else reads.
struct ConstantConv {
  ir::Node node;
  int64_t features = 0;
};
std::optional<ConstantConv> find_constant_conv(const ir::Graph& graph, ir::Value value);

// Where `value` is a convolution's, but not one that find_constant_conv finds: false, with the reason as a near miss.
bool miss_of_conv(const ir::Graph& graph, ir::Value value, RuleContext& context);

// Puts Conv(x, w * scale, bias * scale + shift), by feature, in the place of `at`. Returns true.
bool replace_with_scaled(ir::Graph& graph, ir::NodeId at, const ConstantConv& conv, const std::vector<double>& scale,
                         const std::vector<double>& shift);

}  // namespace lathe::opt
