#include "cli/known_files.h"

#include <algorithm>
#include <array>

namespace lathe::cli {
namespace {

struct KnownFile {
  std::string_view sha256;
  std::string_view what;
};

// From the pointers that Stability AI's repositories kept to their large files.
constexpr std::array<KnownFile, 10> kKnown = {{
    {"1238522277c48923ff2751e238f2742c562e45643f3d50cc93d163cb30638b0c", "UNet of Stable Diffusion 2.1 (768, v), fp32"},
    {"007c2326f37c47244db6db7cce6c305fe8b94b73fb2d260ecca9ef7d960644c4", "UNet of Stable Diffusion 2.1 (768, v), fp16"},
    {"dcd690123cfc64383981a31d955694f6acf2072a80537fdb612c8e58ec87a8ac",
     "Stable Diffusion 2.1 (768, v), ema pruned, safetensors"},
    {"ad2a33c361c1f593c4a1fb32ea81afce2b5bb7d1983c6b94793a26a3b54b08a0",
     "Stable Diffusion 2.1 (768, v), ema pruned, ckpt"},
    {"ff144a49841cf383adbc68841272ce639e1032b0a1f0f6586347feb953c244f4",
     "Stable Diffusion 2.1 (768, v), non-ema pruned, safetensors"},
    {"6dfae3e5f7d459b50f4b0850ead945972c75bb0e1897628933e169eb43974214",
     "UNet of Stable Diffusion 2.1 base (512, epsilon), fp32"},
    {"df955bdf6b682338ea9b55dfc0d8f3475aadf4836e204893d28b82355e0956d2",
     "Stable Diffusion 2.1 base (512, epsilon), ema pruned, safetensors"},
    {"88ecb782561455673c4b78d05093494b9c539fc6bfc08f3a9a4a0dd7b0b10f36",
     "Stable Diffusion 2.1 base (512, epsilon), ema pruned, ckpt"},
    {"cce6febb0b6d876ee5eb24af35e27e764eb4f9b1d0b7c026c8c3333d4cfc916c", "text encoder of Stable Diffusion 2, fp32"},
    {"a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815", "autoencoder of Stable Diffusion 2, fp32"},
}};

}  // namespace

std::string_view find_known_file(std::string_view sha256) {
  const auto found = std::ranges::find(kKnown, sha256, &KnownFile::sha256);
  return found == kKnown.end() ? std::string_view() : found->what;
}

}  // namespace lathe::cli
