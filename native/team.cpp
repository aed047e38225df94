#include "team.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace auricle {
namespace {

// A phase is short, and waiting for its end costs less than sleeping. But where others have work too, the thread that is
// waited for may have no core: who sleeps lets it have this one.
constexpr int kSpins = 1 << 10;

std::atomic<int> wanted{1};
std::mutex running;  // one call at a time: two would only take the cores from each other

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Everybody waits until everybody is here.
class Barrier {
  public:
    void wait(int count) {
        const unsigned round = round_.load(std::memory_order_relaxed);
        if (here_.fetch_add(1, std::memory_order_acq_rel) == count - 1) {
            here_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            round_.notify_all();
            return;
        }
        for (int spins = 0; spins < kSpins; spins++) {
            if (round_.load(std::memory_order_acquire) != round) return;
            pause();
        }
        round_.wait(round, std::memory_order_acquire);
    }

  private:
    alignas(64) std::atomic<int> here_{0};
    alignas(64) std::atomic<unsigned> round_{0};
};

// Where the share of a thread begins. Each thread has the same part of every phase, a prompt's first rows or a matrix's
// first columns, so that what it wrote in one phase is near when it reads it in the next; who is done helps the others.
int share(int items, int thread, int team) { return static_cast<int>(static_cast<int64_t>(items) * thread / team); }

struct alignas(64) Counter {
    std::atomic<int> next{0};
};

}  // namespace

void* Scratch::bytes(size_t count) {
    if (count > size_) {
        held_.reset(new uint8_t[count + 64]);
        size_ = count;
    }
    const auto at = reinterpret_cast<uintptr_t>(held_.get());
    return reinterpret_cast<void*>((at + 63) / 64 * 64);
}

int threads() { return wanted; }
void set_threads(int count) { wanted = std::max(1, count); }

void run_phases(int count, const std::function<int(int)>& items,
                const std::function<void(int phase, int item, Scratch& scratch)>& run) {
    const std::lock_guard<std::mutex> alone(running);
    static std::vector<Scratch> scratches;
    static std::vector<Counter> counters;  // of items taken, for each phase and thread
    const int asked = threads();
    if (scratches.size() < static_cast<size_t>(asked)) scratches.resize(asked);
    const size_t needed = static_cast<size_t>(count) * asked;
    if (counters.size() < needed) counters = std::vector<Counter>(needed);
    for (size_t i = 0; i < needed; i++) counters[i].next.store(0, std::memory_order_relaxed);

    Barrier barrier;
    const auto work = [&](int thread, int team) {
        for (int phase = 0; phase < count; phase++) {
            const int n = items(phase);
            for (int turn = 0; turn < team; turn++) {
                const int owner = (thread + turn) % team, end = share(n, owner + 1, team);
                auto& next = counters[static_cast<size_t>(phase) * asked + owner].next;
                for (int i; (i = share(n, owner, team) + next.fetch_add(1, std::memory_order_relaxed)) < end;)
                    run(phase, i, scratches[thread]);
            }
            barrier.wait(team);
        }
    };
#ifdef _OPENMP
#pragma omp parallel num_threads(asked)
    work(omp_get_thread_num(), omp_get_num_threads());  // which may be fewer than asked for
#else
    std::vector<std::thread> others;
    for (int thread = 1; thread < asked; thread++) others.emplace_back([&, thread] { work(thread, asked); });
    work(0, asked);
    for (auto& other : others) other.join();
#endif
}

}  // namespace auricle
