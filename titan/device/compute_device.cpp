#include "titan/device/compute_device.h"

#include <c10/util/Exception.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>

#include "titan/device/driver.h"
#include "titan/device/host_memory.h"
#include "titan/logging/logger.h"

namespace titan::device {
namespace {

constexpr int kNeededCuda = 13000;  // the CUDA that the torch wheel is built with

std::string cuda_version(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

// Beside the program, where the build and the archive of scripts/run_on_gpu put it.
std::filesystem::path library_path() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libtitan_cuda.so";
}

// Segments that grow instead of many of fixed size: less is lost to fragments. A user's own settings stay.
void set_allocator_defaults() {
  if (std::getenv("PYTORCH_CUDA_ALLOC_CONF") == nullptr) {
    setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True", /*overwrite=*/0);
  }
}

// Names the library that is missing: "libcudnn.so.9: cannot open shared object file: No such file or directory".
std::string loading_error() {
  const char* const message = dlerror();
  return message == nullptr ? "unknown reason" : message;
}

}  // namespace

ComputeDevice open_compute_device(int64_t local_rank, int64_t local_world_size) {
  const char* const setting = std::getenv("TITAN_DEVICE");
  const std::string_view wanted = setting == nullptr ? "" : setting;
  TORCH_CHECK_VALUE(wanted.empty() || wanted == "auto" || wanted == "cpu" || wanted == "cuda",
                    "TITAN_DEVICE: expected auto, cpu or cuda, got '", wanted, "'");
  const auto use_cpu = [] {
    keep_freed_memory();
    return ComputeDevice{};
  };
  if (wanted == "cpu") return use_cpu();

  const auto cannot = [&](const std::string& why) {
    TORCH_CHECK_VALUE(wanted != "cuda", "TITAN_DEVICE: cuda cannot be used: ", why);
    logging::warning("The GPU cannot be used, so the CPU is: {}", why);
    return use_cpu();
  };
  const std::optional<Driver> driver = find_driver();
  if (!driver.has_value()) {
    TORCH_CHECK_VALUE(wanted != "cuda",
                      "TITAN_DEVICE: cuda was asked for, but there is no NVIDIA driver with a GPU "
                      "for this process; see nvidia-smi and CUDA_VISIBLE_DEVICES");
    return use_cpu();
  }
  if (driver->cuda_version < kNeededCuda) {
    return cannot(fmt::format("its driver serves CUDA {} and this program needs {}; install a newer driver",
                              cuda_version(driver->cuda_version), cuda_version(kNeededCuda)));
  }
  const std::filesystem::path path = library_path();
  if (!std::filesystem::exists(path)) {
    return cannot(
        fmt::format("{} is missing: this build was made without nvcc; install the CUDA 13 toolkit, then "
                    "run cmake --fresh --preset release and cmake --build build",
                    path.string()));
  }
  set_allocator_defaults();
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    return cannot(fmt::format("{}; run TITAN_CUDA=1 scripts/setup.sh, which brings CUDA's libraries", loading_error()));
  }
  const auto open = reinterpret_cast<OpenCuda>(dlsym(library, kOpenCuda));
  TORCH_INTERNAL_ASSERT(open != nullptr, path.string(), " lacks ", kOpenCuda);
  ComputeDevice gpu;
  open(local_rank % driver->num_devices, gpu);
  if (local_world_size > driver->num_devices) {
    gpu.is_shared = true;
    gpu.make_backend = nullptr;
    gpu.make_partwise = nullptr;
    if (local_rank == 0) {
      logging::warning("{} ranks share {} on this machine, and talk through its memory: NCCL serves one rank a GPU",
                       local_world_size,
                       driver->num_devices == 1 ? "one GPU" : fmt::format("{} GPUs", driver->num_devices));
    }
  }
  return gpu;
}

}  // namespace titan::device
