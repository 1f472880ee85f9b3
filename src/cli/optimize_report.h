// What `lathe optimize` says of its work: passes, rules, what nearly fired, work before and after, what rounding cost.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "calibrate/sixteen_bit.h"
#include "cli/verb.h"
#include "opt/fix_lengths.h"
#include "opt/pass_manager.h"

namespace lathe::cli {

// Work that a graph is, as far as lengths are known.
struct GraphWork {
  int64_t nodes = 0;
  int64_t macs = 0;     // multiply-adds of products, convolutions, attention, recurrent layers
  int64_t bytes = 0;    // that nodes read and write
  int64_t unknown = 0;  // nodes whose lengths are open
};
// With the inputs of these lengths.
GraphWork work_of(ir::Graph graph, const opt::Lengths& lengths);

// Pass by pass what it took and left, below it what its rules did and where, and where they nearly did something.
void print_passes(const std::vector<opt::PassReport>& reports, const Output& output);
Json passes_as_json(const std::vector<opt::PassReport>& reports);

// `symbols`: the lengths that were chosen for what the graph leaves open.
void print_work(const GraphWork& before, const GraphWork& after,
                const std::map<std::string, int64_t, std::less<>>& symbols, const Output& output);
Json work_as_json(const GraphWork& work);

// The outputs of the graph beside those of what it is held to.
void print_outputs(std::string_view what, const std::vector<calibrate::OutputCost>& outputs, const Output& output);
Json outputs_as_json(const std::vector<calibrate::OutputCost>& outputs);

// Which nodes stay in f32 and why; the noisiest of the others.
void print_sixteen_bits(const calibrate::SixteenBitCost& cost, const Output& output);
Json sixteen_bits_as_json(const calibrate::SixteenBitCost& cost);

}  // namespace lathe::cli
