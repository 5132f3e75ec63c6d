#include "fenced.hpp"

#include <algorithm>
#include <new>

#include "../os/os.hpp"

namespace check {
namespace {

constexpr std::byte kPoison{0xa5};

}  // namespace

Fenced::Fenced(uint64_t bytes, uint64_t alignment) : bytes_(bytes) {
  const os::Uncounted own;
  const uint64_t page = os::page_size();
  const uint64_t rounded = (bytes + alignment - 1) / alignment * alignment;
  const uint64_t inside = std::max<uint64_t>(1, (rounded + page - 1) / page) * page;
  mapped_ = inside + page;
  pages_ = static_cast<std::byte*>(os::map_pages(mapped_));
  if (pages_ == nullptr) throw std::bad_alloc();
  os::protect_pages(pages_ + inside, page, os::Access::kNone);
  data_ = pages_ + inside - rounded;
  std::fill(data_ + bytes, data_ + rounded, kPoison);
}

Fenced::Fenced(const void* from, uint64_t bytes, uint64_t alignment) : Fenced(bytes, alignment) {
  if (bytes != 0) std::memcpy(data_, from, bytes);
}

Fenced::~Fenced() {
  const os::Uncounted own;
  if (pages_ != nullptr) os::unmap_pages(pages_, mapped_);
}

Fenced::Fenced(Fenced&& other) noexcept
    : pages_(other.pages_), data_(other.data_), bytes_(other.bytes_), mapped_(other.mapped_) {
  other.pages_ = nullptr;
}

void Fenced::seal() const { os::protect_pages(pages_, mapped_ - os::page_size(), os::Access::kRead); }
void Fenced::close() const { os::protect_pages(pages_, mapped_ - os::page_size(), os::Access::kNone); }
void Fenced::open() const { os::protect_pages(pages_, mapped_ - os::page_size(), os::Access::kWrite); }

bool Fenced::broken() const {
  const std::byte* end = pages_ + mapped_ - os::page_size();
  return !std::all_of<const std::byte*>(data_ + bytes_, end, [](std::byte b) { return b == kPoison; });
}

}  // namespace check
