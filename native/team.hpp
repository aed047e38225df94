// Threads that work through phases together: each begins with its own share of a phase's items, then takes from the
// others', and nobody begins a phase before the one before it is done.
//
// They are OpenMP's, because torch has its threads from there too: one pool for both, so that no two threads ever wait
// for the same core. Without OpenMP (macOS), threads are started for each call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace auricle {

// Memory that is aligned to a vector and not initialised; it grows, and never shrinks.
class Scratch {
  public:
    float* floats(size_t count) { return static_cast<float*>(bytes(count * sizeof(float))); }
    void* bytes(size_t count);

  private:
    std::unique_ptr<uint8_t[]> held_;
    size_t size_ = 0;
};

int threads();
void set_threads(int count);

// Runs `count` phases, phase i of `items(i)` items. One call at a time; others wait.
void run_phases(int count, const std::function<int(int)>& items,
                const std::function<void(int phase, int item, Scratch& scratch)>& run);

}  // namespace auricle
