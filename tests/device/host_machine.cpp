// The machine under host_cuda.h: threads that take turns in any order that is asked for, and a
// watch over what they do to memory.
#include <dlfcn.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

struct Index { unsigned x = 0, y = 0, z = 0; };
Index threadIdx, blockIdx, gridDim, blockDim;
unsigned char* shared_memory;

namespace {

using Tag = unsigned long long;
struct Fiber { jmp_buf here; bool born = false; };
constexpr size_t stack_size = 1 << 16;
std::vector<Fiber> fibers;
std::vector<char> is_done;
char* const stacks = (char*)malloc(1024 * stack_size);
jmp_buf scheduler;
void (*body)();
long progress;  // barriers passed and threads ended: none of a whole round is a deadlock
Tag now = 1, block_began;  // counts what all threads of a block have waited for

void complain(const char* what, const void* from);

}  // namespace

void give_turn() {
    const unsigned self = threadIdx.x;
    if (!_setjmp(fibers[self].here)) _longjmp(scheduler, 1);
    threadIdx.x = self;
}

namespace {

struct Barrier {
    int size = 32, arrived = 0;
    bool of_all = false;  // threads of a block
    long turn = 0;
    void pass() {
        if (arrived && arrived >= size) arrived = 0, turn++, progress++, now += of_all;
    }
    void wait() {
        const long mine = turn;
        arrived++;
        pass();
        while (turn == mine) give_turn();
    }
    void leave() { size--, pass(); }  // who has ended keeps nobody waiting
};
Barrier of_block, of_warps[32];

}  // namespace

void wait_for_block() { of_block.wait(); }
void wait_for_warp(const void* from) {
    Barrier& warp = of_warps[threadIdx.x / 32];
    if (warp.size < 32) complain("a warp is not whole", from);
    warp.wait();
}
void exchange(void* value, int size, int distance, const void* from) {
    static double exchanged[32][32];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    memcpy(&exchanged[warp][lane], value, size);
    wait_for_warp(from);
    memcpy(value, &exchanged[warp][lane ^ distance], size);
    wait_for_warp(from);
}
unsigned vote(bool value, const void* from) {
    static bool votes[32][32];
    const int warp = threadIdx.x / 32;
    votes[warp][threadIdx.x % 32] = value;
    wait_for_warp(from);
    unsigned found = 0;
    for (int i = 0; i < 32; i++) found |= unsigned(votes[warp][i]) << i;
    wait_for_warp(from);
    return found;
}
// (16, 16) times (16, 8): every lane reads what those of its rows and columns have.
void multiply_in_warp(float* sum, const unsigned* mine, const void* from) {
    static unsigned operands[32][32][6];
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    memcpy(operands[warp][threadIdx.x % 32], mine, sizeof operands[0][0]);
    wait_for_warp(from);
    auto number = [&](int lane, int word, int half) {
        const unsigned bits = operands[warp][lane][word] >> 16 * half << 16;
        float found;
        memcpy(&found, &bits, sizeof found);
        return found;
    };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 16; k++)
            sum[i] += number(4 * g + k % 8 / 2, i / 2 + k / 8 * 2, k % 2) *
                      number(4 * (2 * t + i % 2) + k % 8 / 2, 4 + k / 8, k % 2);
    wait_for_warp(from);
}

// -- asynchronous copies ------------------------------------------------------------------------

namespace {

struct Copy { void* to; const void* from; int bytes; unsigned thread; };
std::vector<Copy> copies;       // that are on their way
std::vector<Copy> bulk_copies;
bool are_late;  // what was asked for arrives when somebody waits for it, else at once
Tag waited[1024], first_waited;  // when a thread waited for bulk copies

void mark(const void* p, int bytes, char state);
bool is_touched(const void* p, int bytes);
void check(const void* p, int bytes, bool writes, const void* from);

}  // namespace

void copy_async(void* to, const void* from, int bytes, const void* place) {
    if ((uintptr_t(to) | uintptr_t(from)) % bytes) complain("copies between accesses", place);
    check(from, bytes, false, place);
    check(to, bytes, true, place);
    if (!are_late) memcpy(to, from, bytes);
    mark(to, bytes, 1);
    copies.push_back({to, from, bytes, threadIdx.x});
}
void copies_wait() {
    for (size_t i = 0; i < copies.size();) {
        const Copy copy = copies[i];
        if (copy.thread != threadIdx.x) { i++; continue; }
        if (are_late) memcpy(copy.to, copy.from, copy.bytes);
        mark(copy.to, copy.bytes, 0);
        copies[i] = copies.back(), copies.pop_back();
    }
}
void barrier_init(unsigned long long* barrier, unsigned bytes, const void* place) {
    check(barrier, 8, true, place);
    *barrier = bytes;
    first_waited = 0;
}
void copy_bulk(void* to, const void* from, unsigned bytes, unsigned long long* barrier,
               const void* place) {
    if ((uintptr_t(to) | uintptr_t(from) | bytes) % 16) complain("copies between accesses", place);
    check(barrier, 8, false, place);
    check(from, bytes, false, place);
    if (is_touched(to, bytes)) complain("copies in bulk to where threads were", place);  // no fence
    check(to, bytes, true, place);
    if (!are_late) memcpy(to, from, bytes);
    mark(to, bytes, 1);
    bulk_copies.push_back({to, from, int(bytes), threadIdx.x});
    *barrier -= bytes, progress++;
}
void barrier_wait(unsigned long long* barrier, const void* place) {
    check(barrier, 8, false, place);
    while (*barrier) give_turn();
    for (const Copy& copy : bulk_copies) {
        if (are_late) memcpy(copy.to, copy.from, copy.bytes);
        mark(copy.to, copy.bytes, 2);
    }
    bulk_copies.clear();
    waited[threadIdx.x] = now;
    if (!first_waited) first_waited = now;
}

// -- the watch ----------------------------------------------------------------------------------
//
// The compiler calls a function at every access to memory (-fsanitize=thread). Written down are
// accesses outside of the arrays of a launch and of shared memory, reads of declared shared memory
// that no thread of the block has written, and pairs of accesses that no barrier orders, one of which
// writes. Shuffles order nothing, and blocks are in no order at all until they count themselves; what
// atomic functions, __ldcg and volatile accesses touch is taken for ordered.

namespace {

constexpr Tag several = 2047;  // threads have read between the same barriers
struct Seen {  // of a byte: when << 11 | thread of the last write and read, and of the first read
    Tag written = 0, read = 0, first = 0;
    char state = 0;  // 1: a copy is on its way, 2: a bulk copy was waited for
};
enum Kind { of_launch, declared, dynamic };  // global memory, and both kinds of shared
struct Region { uintptr_t low, high; Seen* seen; Kind kind; };
std::vector<Region> regions;
std::map<std::pair<const void*, std::string>, std::string> complaints;
bool has_counted;  // this block has added to a counter: what it does then is after those before it

void complain(const char* what, const void* from) {
    const std::pair<const void*, std::string> key = {from, what};
    if (regions.empty() || complaints.count(key) || complaints.size() > 40) return;
    char text[200];
    Dl_info there = {};
    dladdr(from, &there);
    snprintf(text, sizeof text, "%lx: %s, thread %u of block %u %u %u\n",
             long((char*)from - (char*)there.dli_fbase), what, threadIdx.x, blockIdx.x, blockIdx.y,
             blockIdx.z);
    complaints[key] = text;
}
Region* region_of(uintptr_t at, int bytes) {
    static size_t last = 0;
    auto holds = [&](const Region& each) { return each.low <= at && at + bytes <= each.high; };
    if (last < regions.size() && holds(regions[last])) return &regions[last];
    for (last = 0; last < regions.size(); last++)
        if (holds(regions[last])) return &regions[last];
    return nullptr;
}
void mark(const void* p, int bytes, char state) {
    Region* region = region_of(uintptr_t(p), bytes);
    for (int i = 0; region && i < bytes; i++) {
        Seen& seen = region->seen[uintptr_t(p) - region->low + i];
        seen.state = state, seen.written = now << 11 | threadIdx.x;
    }
}
bool is_touched(const void* p, int bytes) {
    Region* region = region_of(uintptr_t(p), bytes);
    for (int i = 0; region && i < bytes; i++) {
        const Seen& seen = region->seen[uintptr_t(p) - region->low + i];
        if (std::max(seen.written, seen.read) >> 11 >= block_began) return true;
    }
    return false;
}
void check(const void* p, int bytes, bool writes, const void* from) {
    if (regions.empty()) return;
    const uintptr_t at = uintptr_t(p);
    if (at - uintptr_t(stacks) - stack_size * threadIdx.x < stack_size) return;
    for (const Index* each : {&threadIdx, &blockIdx, &gridDim, &blockDim})
        if (at - uintptr_t(each) < sizeof *each) return;
    if (p == &shared_memory) return;
    Region* region = region_of(at, bytes);
    if (!region) return complain(writes ? "writes outside" : "reads outside", from);
    const Tag thread = threadIdx.x, tag = now << 11 | thread;
    for (int i = 0; i < bytes; i++) {
        Seen& seen = region->seen[at - region->low + i];
        auto clashes = [&](Tag other) {
            const Tag when = other >> 11;
            if (!other) return false;
            if (when == now) return (other & 2047) != thread;
            return region->kind == of_launch && !has_counted && when < block_began;
        };
        if (seen.state == 1) complain("touches what a copy writes", from);
        if (seen.state == 2 && waited[thread] < block_began && first_waited >= now)
            complain("touches what it has not waited for", from);
        else if (seen.state != 2 && clashes(seen.written))
            complain(writes ? "writes what another wrote" : "reads what another wrote", from);
        if (writes && (clashes(seen.read) || clashes(seen.first)))
            complain("writes what another read", from);
        if (!writes && region->kind == declared && seen.written >> 11 < block_began)
            complain("reads what nobody wrote", from);
        if (writes) {
            seen.written = tag, seen.state = 0;
        } else {
            seen.read = seen.read >> 11 == now && seen.read != tag ? now << 11 | several : tag;
            if (!seen.first && region->kind == of_launch) seen.first = tag;
        }
    }
}
void add_region(const void* low, const void* high, Kind kind) {
    Seen* seen = (Seen*)calloc((char*)high - (char*)low + 1, sizeof(Seen));
    regions.push_back({uintptr_t(low), uintptr_t(high), seen, kind});
}

}  // namespace

void count() { has_counted = true; }
void touch(const void* p, int bytes) {
    if (!regions.empty() && !region_of(uintptr_t(p), bytes))
        complain("touches outside", __builtin_return_address(0));
}
extern "C" {
// The arrays of the next launch, as pairs of where they begin and end.
void watch(const char* const* ends, int count) {
    add_region(nullptr, nullptr, of_launch);
    for (int i = 0; i < count; i++) add_region(ends[2 * i], ends[2 * i + 1], of_launch);
}
// What was seen, a line each: where in the library, and what.
const char* end_watch() {
    static std::string told;
    told.clear();
    for (auto& each : complaints) told += each.second;
    for (Region& each : regions) free(each.seen);
    regions.clear(), complaints.clear();
    return told.c_str();
}
#define FROM __builtin_return_address(0)
#define HOOKS(n)                                                            \
    void __tsan_read##n(void* p) { check(p, n, false, FROM); }              \
    void __tsan_write##n(void* p) { check(p, n, true, FROM); }              \
    void __tsan_unaligned_read##n(void* p) { check(p, n, false, FROM); }    \
    void __tsan_unaligned_write##n(void* p) { check(p, n, true, FROM); }    \
    void __tsan_volatile_read##n(void* p) { touch(p, n); }                  \
    void __tsan_volatile_write##n(void* p) { touch(p, n); }
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
void __tsan_read_range(void* p, size_t n) { check(p, n, false, FROM); }
void __tsan_write_range(void* p, size_t n) { check(p, n, true, FROM); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
}

// -- blocks and turns ---------------------------------------------------------------------------

namespace {

Tag state;  // of what shuffles
void shuffle(std::vector<int>& places) {
    for (size_t i = places.size(); i > 1; i--) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        std::swap(places[i - 1], places[(state >> 33) % i]);
    }
}
std::vector<int> counted(int from, int to) {
    std::vector<int> found;
    for (int i = from; i < to; i++) found.push_back(i);
    return found;
}
void live() {  // a fiber is a thread of one block after the other
    for (;;) {
        body();
        is_done[threadIdx.x] = 1;
        give_turn();
    }
}
// Lets a thread run until it waits or ends.
__attribute__((noinline)) void resume(int i) {
    static ucontext_t start;
    threadIdx.x = i;
    if (_setjmp(scheduler)) return;
    if (fibers[i].born) _longjmp(fibers[i].here, 1);
    fibers[i].born = true;
    getcontext(&start);
    start.uc_stack.ss_sp = stacks + stack_size * i;
    start.uc_stack.ss_size = stack_size;
    start.uc_link = nullptr;
    makecontext(&start, live, 0);
    setcontext(&start);
}
void run_block(int threads, unsigned order) {
    int left = threads;
    auto run = [&](const std::vector<int>& turns) {
        for (int i : turns) {
            if (is_done[i]) continue;
            resume(i);
            if (is_done[i]) left--, progress++, of_block.leave(), of_warps[i / 32].leave();
        }
    };
    std::vector<int> all = counted(0, threads), warps = counted(0, (threads + 31) / 32);
    if (order == 1) std::reverse(all.begin(), all.end());
    while (left) {
        const long before = progress;
        if (order < 2 || order % 2 == 0) {
            if (order > 1) shuffle(all);
            run(all);
        } else {
            shuffle(warps);
            for (int warp : warps) {
                std::vector<int> lanes = counted(32 * warp, std::min(32 * warp + 32, threads));
                for (long last = -1; last != progress;) last = progress, shuffle(lanes), run(lanes);
            }
        }
        if (progress == before) fprintf(stderr, "threads wait for each other forever\n"), abort();
    }
}

}  // namespace

// Runs all blocks. In order 0 threads take turns forward, and shared memory starts as NaNs; in 1
// they and the blocks take turns backward, else anyhow, the same for an order: all threads in every
// round, or (odd) one warp as far as it comes and then another one.
void run_grid(const int* grid, int threads, int shared, unsigned order, void (*kernel)(),
              const void* data, const void* end) {
    std::vector<unsigned char> memory(shared + 128);
    shared_memory = (unsigned char*)((uintptr_t(memory.data()) + 127) / 128 * 128);
    state = order, are_late = order % 4 < 2, body = kernel;
    if (!regions.empty()) add_region(shared_memory, shared_memory + shared, dynamic);
    if (!regions.empty()) add_region(data, end, declared);
    if (int(fibers.size()) < threads) fibers.resize(threads);
    blockDim = {unsigned(threads), 1, 1};
    gridDim = {unsigned(grid[0]), unsigned(grid[1]), unsigned(grid[2])};
    std::vector<int> blocks = counted(0, grid[0] * grid[1] * grid[2]);
    if (order == 1) std::reverse(blocks.begin(), blocks.end());
    if (order > 1) shuffle(blocks);
    for (int block : blocks) {
        blockIdx.x = block % gridDim.x;
        blockIdx.y = block / gridDim.x % gridDim.y;
        blockIdx.z = block / gridDim.x / gridDim.y;
        for (int i = 0; i < shared; i++) shared_memory[i] = order ? order * i : 0xff;
        block_began = ++now;
        is_done.assign(threads, 0), has_counted = false;
        copies.clear(), bulk_copies.clear();
        of_block = Barrier();
        of_block.size = threads, of_block.of_all = true;
        for (int w = 0; w < 32; w++) {
            of_warps[w] = Barrier();
            of_warps[w].size = std::min(32, std::max(0, threads - 32 * w));
        }
        run_block(threads, order);
    }
}
