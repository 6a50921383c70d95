#include "titan/profiling/device_time.h"

#include <c10/util/Exception.h>
#include <kineto/ActivityType.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <set>

namespace titan::profiling {
namespace {

namespace kineto = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;
using torch::profiler::impl::ProfilerConfig;
using torch::profiler::impl::ProfilerState;

bool runs_on_device(const kineto::KinetoEvent& event) {
  if (event.deviceType() != c10::DeviceType::CUDA) return false;
  // Annotations and synchronisations are no work.
  const auto type = static_cast<libkineto::ActivityType>(event.activityType());
  return type == libkineto::ActivityType::CONCURRENT_KERNEL || type == libkineto::ActivityType::GPU_MEMCPY ||
         type == libkineto::ActivityType::GPU_MEMSET;
}

// A kernel begins or ends.
struct Edge {
  int64_t time_ns;
  Category category;
  int64_t change;  // of the number of kernels that run
};

}  // namespace

std::vector<KernelInterval> record_kernels(const std::function<void()>& work) {
  const ProfilerConfig config(ProfilerState::KINETO);
  const std::set<ActivityType> activities = {ActivityType::CUDA};
  kineto::prepareProfiler(config, activities);  // before every enableProfiler: without it the second one crashes
  kineto::enableProfiler(config, activities);
  std::exception_ptr failure;
  try {
    work();
  } catch (...) {
    failure = std::current_exception();
  }
  const std::unique_ptr<kineto::ProfilerResult> result = kineto::disableProfiler();
  if (failure) std::rethrow_exception(failure);

  std::vector<KernelInterval> kernels;
  for (const kineto::KinetoEvent& event : result->events()) {
    if (!runs_on_device(event)) continue;
    kernels.push_back({.name = event.name(),
                       .start_ns = static_cast<int64_t>(event.startNs()),
                       .end_ns = static_cast<int64_t>(event.endNs())});
  }
  return kernels;
}

TimeByCategory time_by_category(std::span<const KernelInterval> kernels) {
  // 1. All beginnings and ends, in the order of time.
  std::vector<Edge> edges;
  edges.reserve(2 * kernels.size());
  for (const KernelInterval& kernel : kernels) {
    TORCH_INTERNAL_ASSERT(kernel.start_ns <= kernel.end_ns, kernel.name, " ends before it starts");
    const Category category = category_of_kernel(kernel.name);
    edges.push_back({kernel.start_ns, category, 1});
    edges.push_back({kernel.end_ns, category, -1});
  }
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.time_ns < b.time_ns; });

  // 2. Between two of them the same kernels run.
  TimeByCategory time;
  std::array<int64_t, kCategories.size()> num_running{};
  for (size_t i = 0; i < edges.size(); ++i) {
    num_running[static_cast<size_t>(edges[i].category)] += edges[i].change;
    if (i + 1 == edges.size()) break;
    const double seconds = 1e-9 * static_cast<double>(edges[i + 1].time_ns - edges[i].time_ns);
    const auto* const runs = std::find_if(kCategories.begin(), kCategories.end(), [&](Category category) {
      return num_running[static_cast<size_t>(category)] > 0;
    });
    (runs == kCategories.end() ? time.idle_seconds : time[*runs]) += seconds;
  }
  return time;
}

}  // namespace titan::profiling
