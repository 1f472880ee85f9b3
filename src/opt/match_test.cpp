#include "opt/match.h"

#include <gtest/gtest.h>

namespace lathe::opt {
namespace {

// Two symbols may be 1 and 5: what is as large as a product today is not so for all lengths.
TEST(Match, WhatBroadcastsWhateverSymbolsStandFor) {
  ir::Graph graph;
  const auto input = [&](const char* name, tensor::Shape shape) {
    return graph.add_input(name, {.dtype = tensor::DType::f32, .shape = std::move(shape)});
  };
  using tensor::Dim;
  const ir::Value product = input("p", {Dim::symbol("m"), Dim(4)});
  EXPECT_TRUE(broadcasts_to(graph, input("row", {Dim(4)}), product));
  EXPECT_TRUE(broadcasts_to(graph, input("one", {}), product));
  EXPECT_TRUE(broadcasts_to(graph, input("same", {Dim::symbol("m"), Dim(4)}), product));
  EXPECT_TRUE(broadcasts_to(graph, input("column", {Dim::symbol("m"), Dim(1)}), product));
  EXPECT_FALSE(broadcasts_to(graph, input("other", {Dim::symbol("s"), Dim(4)}), product));
  EXPECT_FALSE(broadcasts_to(graph, input("five", {Dim(5), Dim(4)}), product));
  EXPECT_FALSE(broadcasts_to(graph, input("deep", {Dim(1), Dim(1), Dim(4)}), product));
}

}  // namespace
}  // namespace lathe::opt
