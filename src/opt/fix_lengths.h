// Lengths that somebody gives to a graph that leaves them open: of an input, or of a symbol.
#pragma once

#include <map>
#include <string>

#include "ir/graph.h"

namespace lathe::opt {

// "x" -> [1, 3, 224, 224], where x is an input; "batch" -> [1], where batch is a symbol of some input's type. An input
// goes before a symbol of its name.
using Lengths = std::map<std::string, tensor::Dims>;

// The types of the inputs, by name, with these lengths in all places where their symbols stand. Throws usage naming
// what is neither an input nor a symbol (with names that are near), lengths that an input cannot have and symbols that
// would have two.
std::map<std::string, op::TypeInfo> fixed_input_types(const ir::Graph& graph, const Lengths& lengths);

// Gives the graph these lengths, and infers all types again; throws as fixed_input_types, and as inference does.
void fix_lengths(ir::Graph& graph, const Lengths& lengths);

}  // namespace lathe::opt
