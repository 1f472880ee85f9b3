// A graph of f32 written as one of f16 or bf16 (-O4): weights, values and the types that nodes compute in, with Cast
// where something stays wide (docs/adr/0013).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace lathe::opt {

struct SixteenBitOptions {
  tensor::DType type = tensor::DType::f16;  // or bf16
  int opset = 18;  // that the graph is lowered to and will be written in: not every one has every operator in 16 bits
  std::map<std::string, std::string, std::less<>> keep = {};  // nodes (by name, or that of a result): reason
  // What half_range.h says of each constant, filled as they are looked at: copies of the options share it, so that a
  // search which decides again and again reads the weights once.
  using Refusals = std::map<tensor::SourcePtr, std::string>;
  std::shared_ptr<Refusals> refusals = std::make_shared<Refusals>();
};

// What was decided of a node that computes with f32.
struct SixteenBitPlace {
  std::string node;   // its name, or that of its first result
  std::string value;  // its first result, f32 in every form of the graph
  std::string op;
  std::string kept;  // why it stays in f32; empty: it does not
};

// Inputs and outputs of the graph keep their types. Nodes that only move results follow them and are no places. A node
// stays in f32 where `keep` says so, where the opset has no such operator in that type, where it holds a graph, draws
// random numbers or quantises, where none of its results is f32 (a comparison, an index: nothing in between is right),
// where it computes with whole numbers or gives the argument of a sine (positions, times: f16 has whole numbers up to
// 2048, bf16 up to 256, and samples are short), and where a weight of it would be lost (half_range.h). Throws usage for
// a name in `keep` that no node has.
std::vector<SixteenBitPlace> to_sixteen_bits(ir::Graph& graph, const SixteenBitOptions& options);

// The same decisions, but every value stays f32: what would be 16 bits is rounded to them, by a pair of Casts before
// each node that reads it and behind each that computes it. Gives what to_sixteen_bits gives, to the bit, where
// operators compute in f32 and round their results, as those of op/ do.
std::vector<SixteenBitPlace> round_to_sixteen_bits(ir::Graph& graph, const SixteenBitOptions& options);

}  // namespace lathe::opt
