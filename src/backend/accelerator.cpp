#include "backend/accelerator.h"

#include "plan/engine_file.h"

namespace lathe::backend {
namespace {

constexpr size_t kPiece = size_t{64} << 20;  // of an upload: what stays resident of the mapped file at a time

}  // namespace

std::shared_ptr<std::byte> Accelerator::weights(const plan::EngineFile& engine) {
  const std::lock_guard lock(mutex_);
  std::weak_ptr<std::byte>& known = weights_[&engine];
  if (auto held = known.lock()) return held;
  std::shared_ptr<std::byte> fresh = upload(engine);
  known = fresh;
  return fresh;
}

bool Accelerator::has_weights(const plan::EngineFile& engine) const {
  const std::lock_guard lock(mutex_);
  const auto it = weights_.find(&engine);
  return it != weights_.end() && !it->second.expired();
}

std::shared_ptr<std::byte> Accelerator::upload(const plan::EngineFile& engine) {
  const std::span<const std::byte> bytes = engine.weights();
  std::shared_ptr<std::byte> memory =
      with_context("weights", [&] { return allocate(std::max<size_t>(bytes.size(), 1)); });
  const std::unique_ptr<Stream> stream = make_stream();
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    const std::span<const std::byte> piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
    stream->copy_in(memory.get() + at, piece.data(), piece.size());
    stream->wait();
    check_mapping_faults();
    engine.file()->drop(piece);
  }
  return memory;
}

}  // namespace lathe::backend
