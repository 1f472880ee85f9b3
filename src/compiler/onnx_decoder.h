// A language model out of an exported graph (Optimum's folder): recognised by what it computes, not by its name.
#pragma once

#include "base/log.h"
#include "frontend/checkpoint.h"
#include "ir/model.h"

namespace lathe::compiler {

// The decoder graph of an ONNX folder in the form that frontend::build_decoder gives: fused to the operators that
// stand for norms, rotary embedding and attention, with lathe.CausalMask for the mask. That the mask is causal is
// found by evaluating it: on several shapes and paddings it must hide exactly what a causal mask hides.
//
// Throws unsupported naming the input, output or node that is not a language model's.
ir::Model import_decoder(const frontend::Checkpoint& folder, const LogSink& log);

// The model of any checkpoint as it computes without a wish: import_decoder or frontend::build_decoder.
ir::Model read_model(const frontend::Checkpoint& checkpoint, const LogSink& log = null_log());

}  // namespace lathe::compiler
