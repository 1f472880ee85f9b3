// What rules ask of a graph, in words that keep them readable as equations.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace lathe::opt {

// The node that computes `value` if it is an `op`, else nullptr.
const ir::Node* find_producer(const ir::Graph& graph, ir::Value value, std::string_view op);
// The same for operators that only rename dimensions and take x as their first input: Reshape, Flatten,
// Squeeze, Unsqueeze.
const ir::Node* find_view(const ir::Graph& graph, ir::Value value);

// Whether `value` broadcasts to the dimensions of `to` and leaves them as they are, whatever symbols stand for: each of
// its dimensions is 1 or the same.
bool broadcasts_to(const ir::Graph& graph, ir::Value value, ir::Value to);
// Same dtype and same dimensions, symbols included.
bool same_type(const ir::Graph& graph, ir::Value a, ir::Value b);
// True for a plain constant (at most 64 KiB) of a numeric type whose elements are all `number`; false if it
// has none.
bool all_equal(const ir::Graph& graph, ir::Value value, double number);
// The elements of an integer tensor of rank 0 or 1 where all are known numbers.
std::optional<std::vector<int64_t>> known_ints(const ir::Graph& graph, ir::Value value);
// The same as axes in [0, rank), sorted. nullopt also for axes out of range.
std::optional<std::vector<int64_t>> known_axes(const ir::Graph& graph, ir::Value value, size_t rank);
bool contains(const std::vector<int64_t>& values, int64_t value);
// `perm` of a Transpose, written out where it is the default (reversed).
std::vector<int64_t> permutation(const ir::Graph& graph, const ir::Node& transpose);
// The part [begin, end) of the last axis of `of` that a value is: a Slice, or a result of Split.
struct LastAxisPart {
  ir::Value of;
  int64_t begin;
  int64_t end;
};
std::optional<LastAxisPart> find_part(const ir::Graph& graph, ir::Value value);
// Whether the node joins values along the last axis.
bool joins_last_axis(const ir::Graph& graph, const ir::Node& node);

// True if nothing but one input of one node reads it, so that replacing that node makes it dead.
bool used_once(const ir::Graph& graph, ir::Value value);

// A new constant i64[n].
ir::Value constant_ints(ir::Graph& graph, const std::vector<int64_t>& values);

// Lets all users of the node's only output read `value` instead. Returns true, for the end of a rule.
bool replace(ir::Graph& graph, ir::NodeId node, ir::Value value);
// The same with the output of `replacement`, if that has the same type; otherwise erases `replacement` and
// returns false.
bool replace_same_type(ir::Graph& graph, ir::NodeId node, ir::NodeId replacement);

}  // namespace lathe::opt
