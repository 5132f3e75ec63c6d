#include <algorithm>
#include <cstring>
#include <engine/weight_loader.hpp>

namespace brim::engine {

using negotiator::Residence;

WeightLoader::WeightLoader(const negotiator::Plan& plan, uint32_t device, Device& on, const Buffer& staging)
    : plan_(plan),
      device_plan_(plan.devices[device]),
      visible_((plan.device(device).heaps[device_plan_.local_heap].info.flags & BRIM_HEAP_HOST_VISIBLE) != 0),
      device_(on),
      staging_(staging) {
  if (!staging_) return;
  auto* memory = static_cast<std::byte*>(device_.map(staging_.get()));
  const uint64_t bytes = device_plan_.loading_bytes / device_plan_.loading_slots;
  for (uint32_t i = 0; i < device_plan_.loading_slots; ++i)
    slots_.push_back({{memory + i * bytes, bytes}, i * bytes, 0});
  if (!device_plan_.direct) return;
  const model::ModelFile& file = plan_.model->file;
  for (size_t i = 0; i < file.file_count(); ++i) files_.emplace_back(file.file(i).file());
}

std::span<std::byte> WeightLoader::read(const model::Tensor& tensor, uint64_t offset, size_t bytes, Slot& slot) {
  if (!files_.empty()) return files_[tensor.file].read(tensor.offset + offset, bytes, slot.memory);
  plan_.model->file.read(tensor, offset, slot.memory.first(bytes));
  return slot.memory.first(bytes);
}

void WeightLoader::pack(const negotiator::WeightPlan& weight, const model::Tensor& tensor, uint64_t row, uint64_t n,
                        const WeightPlace& place, const Slot& slot) {
  brim_error error = empty_error();
  device_.check(
      device_.api().pack(device_.queue(), tensor.dtype, tensor.shape.extents.data(), tensor.shape.rank,
                         weight.layout_id, row, n, staging_.get(), slot.offset, place.buffer, place.offset, &error),
      error, "packing a weight");
}

void WeightLoader::load(const negotiator::WeightPlan& weight, const WeightPlace& place, Progress& progress) {
  const model::Tensor& tensor = *plan_.model->description->weights[weight.weight].tensor;
  const bool packs = weight.residence == Residence::kPacked;
  const bool staged = plan_.staged(weight), seen = visible_ && !packs;
  std::byte* const target = seen ? static_cast<std::byte*>(device_.map(place.buffer)) + place.offset : nullptr;
  const uint64_t rows = tensor.shape.extents[0], row_bytes = tensor.bytes / rows;
  const uint64_t per_piece = negotiator::rows_of_piece(row_bytes);
  for (uint64_t row = 0; row < rows; row += per_piece) {
    progress.options.stop_if_cancelled();
    const uint64_t n = std::min(per_piece, rows - row), offset = row * row_bytes;
    const auto bytes = static_cast<size_t>(n * row_bytes);
    if (!staged) {
      plan_.model->file.read(tensor, offset, {target + offset, bytes});
    } else {
      Slot& slot = slots_[next_++ % slots_.size()];
      if (slot.busy) device_.wait(slot.busy);
      const std::span<std::byte> piece = read(tensor, offset, bytes, slot);
      if (seen) {
        std::memcpy(target + offset, piece.data(), bytes);
      } else if (packs) {
        // Where the file's rows began on no border, they move to the slot's.
        if (piece.data() != slot.memory.data()) std::memmove(slot.memory.data(), piece.data(), bytes);
        pack(weight, tensor, row, n, place, slot);
        slot.busy = device_.mark();
      } else {
        const auto skew = static_cast<uint64_t>(piece.data() - slot.memory.data());
        device_.copy(place.buffer, place.offset + offset, staging_.get(), slot.offset + skew, bytes);
        slot.busy = device_.mark();
      }
    }
    progress.add(packs ? BRIM_STAGE_PACK : BRIM_STAGE_READ, bytes);
  }
}

}  // namespace brim::engine
