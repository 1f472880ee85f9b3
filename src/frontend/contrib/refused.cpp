// Operators that have no expansion, and why: what the error says instead of "no operator named".
#include "frontend/contrib.h"

namespace lathe::frontend {
namespace {

constexpr ContribOp kOps[] = {
    {.name = "EPContext",
     .inputs = "...",
     .attributes = "",
     .refusal = "a graph compiled for one vendor's execution provider, which holds no operators; export the original "
                "model"},
    {.name = "GemmFloat8",
     .inputs = "...",
     .attributes = "",
     .refusal = "products of 8-bit floats have no expansion; export the model in fp16"},
};

}  // namespace

std::span<const ContribOp> refused_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
