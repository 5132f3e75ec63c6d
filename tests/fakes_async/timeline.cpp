#include "timeline.hpp"

#include <chrono>
#include <memory>

brim_queue::~brim_queue() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  thread.join();
}

void brim_queue::submit(Work work) {
  {
    const std::lock_guard lock(mutex_);
    works_.push_back(std::move(work));
    for (brim_buffer* buffer : works_.back().uses) ++buffer->pending;
    if (works_.back().running) ++*works_.back().running;
  }
  wake_.notify_all();
}

void brim_queue::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return closing_ || !works_.empty(); });
    if (works_.empty()) return;
    Work work = std::move(works_.front());
    works_.pop_front();
    lock.unlock();
    if (plugin->settings.delay_us && !work.always) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % (plugin->settings.delay_us + 1)));
    }
    try {
      if (!work.always) {
        if (++plugin->works == plugin->settings.lost_at) {
          const std::lock_guard guard(plugin->mutex);
          plugin->lost = true;
        }
        plugin->check_well();
      }
      work.run();
    } catch (const brim_async::Failure&) {
      // A breach or a loss is remembered already; waiting for the fence tells it.
    } catch (const std::bad_alloc&) {
      const std::lock_guard guard(plugin->mutex);
      plugin->starved = true;
    }
    for (brim_buffer* buffer : work.uses) --buffer->pending;
    if (work.running) --*work.running;
    lock.lock();
  }
}

namespace brim_async {

Untouched::Untouched(brim_buffer* buffer, uint64_t offset, uint64_t bytes, const char* what)
    : buffer_(buffer), offset_(offset), what_(what) {
  const std::byte* from = range(buffer, offset, bytes, what);
  if (buffer->heap == 1 && buffer->pending == 0) seen_.assign(from, from + bytes);
}

void Untouched::check() const {
  if (std::memcmp(buffer_->data + offset_, seen_.data(), seen_.size()) != 0) {
    buffer_->plugin->refuse(std::string("the host changed ") + what_ + " while work on it was pending");
  }
}

void copy(brim_queue* queue, brim_buffer* dst, uint64_t dst_offset, brim_buffer* src, uint64_t src_offset,
          uint64_t bytes) {
  range(dst, dst_offset, bytes, "the target of a copy");
  const auto source = std::make_shared<Untouched>(src, src_offset, bytes, "the source of a copy");
  queue->submit({[=] {
                   source->check();
                   std::memmove(dst->data + dst_offset, src->data + src_offset, bytes);
                 },
                 {dst, src}});
}

void signal(brim_queue* queue, brim_fence* fence, uint64_t value) {
  queue->submit({.run = [=] { fence->set(value); }, .uses = {}, .running = nullptr, .always = true});
}

void wait(brim_queue* queue, brim_fence* fence, uint64_t value) {
  queue->submit({.run =
                     [=] {
                       std::unique_lock lock(fence->mutex);
                       fence->changed.wait(lock, [&] { return fence->value >= value; });
                     },
                 .uses = {},
                 .running = nullptr,
                 .always = true});
}

void wait_on_host(brim_fence* fence, uint64_t value, uint64_t timeout_ns) {
  {
    std::unique_lock lock(fence->mutex);
    const auto reached = [&] { return fence->value >= value; };
    if (timeout_ns == UINT64_MAX) {
      fence->changed.wait(lock, reached);
    } else if (!fence->changed.wait_for(lock, std::chrono::nanoseconds(timeout_ns), reached)) {
      throw Failure{BRIM_DEADLINE, "the fence has not been reached in time"};
    }
  }
  fence->plugin->check_well();
}

void drain(brim_queue* queue) {
  brim_fence fence;
  fence.plugin = queue->plugin;
  signal(queue, &fence, 1);
  wait_on_host(&fence, 1, UINT64_MAX);
}

}  // namespace brim_async
