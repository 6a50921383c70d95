#include "titan/distributed/symmetric_memory.h"

#include <ATen/cuda/CUDAEvent.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <array>
#include <atomic>
#include <fstream>
#include <functional>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/csrc/distributed/c10d/symm_mem/SymmetricMemory.hpp>
#include <vector>

namespace titan::distributed {
namespace {

using at::cuda::CUDAEvent;
using c10::cuda::CUDAStream;
using c10d::symmetric_memory::SymmetricMemory;

std::vector<int64_t> stacked(at::IntArrayRef sizes, int64_t num) {
  std::vector<int64_t> result = sizes.vec();
  result.insert(result.begin(), num);
  return result;
}

// --- who can reach whom ---

// "HOST GPU": of this boot of this machine, by its place on the bus, since processes may number GPUs differently.
std::string own_place() {
  std::string host;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> host;
  std::array<char, 32> bus_id{};
  C10_CUDA_CHECK(cudaDeviceGetPCIBusId(bus_id.data(), bus_id.size(), c10::cuda::current_device()));
  return host + " " + bus_id.data();
}

bool can_reach(const std::string& place, const std::string& own) {
  const size_t space = own.find(' ');
  if (place.substr(0, space) != own.substr(0, space)) return false;
  int peer = 0, can = 0;
  if (cudaDeviceGetByPCIBusId(&peer, place.c_str() + space + 1) != cudaSuccess) {
    cudaGetLastError();  // this process does not see it; the next check of errors must not find that
    return false;
  }
  C10_CUDA_CHECK(cudaDeviceCanAccessPeer(&can, c10::cuda::current_device(), peer));
  return can != 0;
}

bool all_reach_all(const BackendRequest& request) {
  c10d::Store& store = *request.store;
  const auto told_by_all = [&](const std::string& topic, const std::string& own) {
    store.set(fmt::format("{}/{}", topic, request.rank), own);
    std::vector<std::string> told;
    for (int64_t rank = 0; rank < request.size; ++rank) {
      told.push_back(store.get_to_str(fmt::format("{}/{}", topic, rank)));
    }
    return told;
  };
  const std::string own = own_place();
  bool reaches = true;
  const std::vector<std::string> places = told_by_all("place", own);
  for (int64_t rank = 0; rank < request.size; ++rank) {
    if (rank != request.rank) reaches &= can_reach(places[static_cast<size_t>(rank)], own);
  }
  for (const std::string& verdict : told_by_all("reaches", reaches ? "all" : "not all")) reaches &= verdict == "all";
  return reaches;
}

// --- memory ---

// Memory of each rank that all others read, as large as has been needed. One operation uses it at a time: on this
// rank's streams the next waits for the last one's end, which is when all ranks have read what they wanted.
class Region {
 public:
  explicit Region(std::string group_name)
      : group_name_(std::move(group_name)), stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true)) {}

  const CUDAStream& stream() const { return stream_; }

  // Makes it `bytes` long at least, and the current stream wait until nobody reads it. All ranks ask for the same.
  void acquire(int64_t bytes) {
    if (bytes > bytes_) {
      // Rendezvous waits for all ranks, each of which is done with the old memory by then.
      c10::cuda::device_synchronize();
      bytes_ = bytes;
      memory_ = c10d::symmetric_memory::empty_strided_p2p(
          {bytes}, {1}, at::kByte, at::Device(at::kCUDA, c10::cuda::current_device()), group_name_, std::nullopt);
      shared_ = c10d::symmetric_memory::rendezvous(memory_, group_name_);
    }
    if (was_used_) released_.block(c10::cuda::getCurrentCUDAStream());
  }
  // To be called when this rank's last reading is on stream(): others may write once all have come so far.
  void release() {
    const c10::cuda::CUDAStreamGuard guard(stream_);
    shared_->barrier(kAtTheEnd, /*timeout_ms=*/0);
    released_.record(stream_);
    was_used_ = true;
  }

  at::Tensor of(int64_t rank, at::IntArrayRef sizes, at::ScalarType dtype) {
    return shared_->get_buffer(static_cast<int>(rank), sizes, dtype, /*storage_offset=*/0);
  }
  SymmetricMemory& shared() { return *shared_; }

  // Operations of different purpose do not take each other's signals.
  static constexpr int kAtTheBeginning = 0, kAtTheEnd = 1, kTerm = 2;

 private:
  std::string group_name_;
  CUDAStream stream_;
  int64_t bytes_ = 0;
  at::Tensor memory_;
  c10::intrusive_ptr<SymmetricMemory> shared_;
  CUDAEvent released_;
  bool was_used_ = false;
};

// Makes `stream` wait for what the current stream has been given so far.
void follow_current(const CUDAStream& stream) {
  CUDAEvent event;
  event.record(c10::cuda::getCurrentCUDAStream());
  event.block(stream);
}

// --- the two ---

// Each rank shows its part, and fetches those of the others.
class SymmetricAllGather : public PartwiseAllGather {
 public:
  SymmetricAllGather(Region& region, const at::Tensor& own, int64_t rank, int64_t size)
      : rank_(rank), arrived_(static_cast<size_t>(size)), parts_(at::empty(stacked(own.sizes(), size), own.options())) {
    region.acquire(static_cast<int64_t>(own.numel() * own.element_size()));
    parts_[rank].copy_(own);
    region.of(rank, own.sizes(), own.scalar_type()).copy_(own);
    follow_current(region.stream());
    {
      const c10::cuda::CUDAStreamGuard guard(region.stream());
      region.shared().barrier(Region::kAtTheBeginning, /*timeout_ms=*/0);
      for (int64_t k = 1; k < size; ++k) {
        const int64_t ahead = (rank + k) % size;
        parts_[ahead].copy_(region.of(ahead, own.sizes(), own.scalar_type()), /*non_blocking=*/true);
        arrived_[static_cast<size_t>(ahead)].record(region.stream());
      }
    }
    region.release();
  }
  // The memory of parts goes back to the current stream's, which must not be given it while copies are under way.
  ~SymmetricAllGather() override {
    for (int64_t rank = 0; rank < static_cast<int64_t>(arrived_.size()); ++rank) wait(rank);
  }

  at::Tensor wait(int64_t rank) override {
    if (rank != rank_) arrived_[static_cast<size_t>(rank)].block(c10::cuda::getCurrentCUDAStream());
    return parts_[rank];
  }
  const at::Tensor& parts() const override { return parts_; }

 private:
  int64_t rank_;
  std::vector<CUDAEvent> arrived_;  // by rank
  at::Tensor parts_;
};

// Each rank makes its terms in the shared memory, says to whom one is there, and fetches those for its part.
class SymmetricReduceScatter : public PartwiseReduceScatter {
 public:
  SymmetricReduceScatter(Region& region, at::IntArrayRef sizes, const at::TensorOptions& options, int64_t rank,
                         int64_t size)
      : region_(region), rank_(rank), size_(size), received_(at::empty(stacked(sizes, size), options)) {
    region.acquire(static_cast<int64_t>(received_.numel() * received_.element_size()));
    terms_ = region.of(rank, received_.sizes(), received_.scalar_type());
    follow_current(region.stream());  // received_ may have been in use before
  }

  at::Tensor term(int64_t rank) override { return rank == rank_ ? received_[rank] : terms_[rank]; }

  void send(int64_t rank) override {
    const int64_t step = (rank - rank_ + size_) % size_, back = (rank_ - step + size_) % size_;
    follow_current(region_.stream());
    const c10::cuda::CUDAStreamGuard guard(region_.stream());
    region_.shared().put_signal(static_cast<int>(rank), Region::kTerm, /*timeout_ms=*/0);
    region_.shared().wait_signal(static_cast<int>(back), Region::kTerm, /*timeout_ms=*/0);
    received_[back].copy_(region_.of(back, received_.sizes(), received_.scalar_type())[rank_], /*non_blocking=*/true);
  }

  at::Tensor sum() override {
    CUDAEvent arrived;
    arrived.record(region_.stream());
    arrived.block(c10::cuda::getCurrentCUDAStream());
    region_.release();
    return received_.sum(0);
  }

 private:
  Region& region_;
  int64_t rank_, size_;
  at::Tensor received_, terms_;  // by rank
};

class SymmetricPartwise : public Partwise {
 public:
  explicit SymmetricPartwise(const BackendRequest& request)
      : rank_(request.rank), size_(request.size), gathers_(group_name(request)), scatters_(group_name(request)) {}

  std::unique_ptr<PartwiseAllGather> all_gather(const at::Tensor& own) override {
    return std::make_unique<SymmetricAllGather>(gathers_, own, rank_, size_);
  }
  std::unique_ptr<PartwiseReduceScatter> reduce_scatter(at::IntArrayRef part_sizes,
                                                        const at::TensorOptions& options) override {
    return std::make_unique<SymmetricReduceScatter>(scatters_, part_sizes, options, rank_, size_);
  }

 private:
  // c10d knows groups by names of this process, each given once.
  static std::string group_name(const BackendRequest& request) {
    static std::atomic<int64_t> num_groups = 0;
    std::string name = fmt::format("titan symmetric memory {}", num_groups++);
    c10d::symmetric_memory::set_group_info(name, static_cast<int>(request.rank), static_cast<int>(request.size),
                                           request.store);
    return name;
  }

  int64_t rank_, size_;
  Region gathers_, scatters_;  // a gather and a scatter may be under way at the same time
};

}  // namespace

std::shared_ptr<Partwise> make_symmetric_partwise(const BackendRequest& request) {
  if (!all_reach_all(request)) return nullptr;
  return std::make_shared<SymmetricPartwise>(request);
}

}  // namespace titan::distributed
