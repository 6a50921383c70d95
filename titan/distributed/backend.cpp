#include "titan/distributed/backend.h"

#include <c10/util/Exception.h>

#include <array>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "titan/distributed/fake_backend.h"

namespace titan::distributed {
namespace {

// c10d's own flight recorder would note every operation of Gloo, and breaks when two threads have groups: it adds
// groups to a map without a lock.
void disable_flight_recorder() {
  static const bool done = setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/0) == 0;
  TORCH_INTERNAL_ASSERT(done);
}

// GLOO_SOCKET_IFNAME, as in PyTorch, chooses the network interface.
c10::intrusive_ptr<c10d::Backend> make_gloo(const BackendRequest& request) {
  using c10d::ProcessGroupGloo;
  disable_flight_recorder();
  auto options = ProcessGroupGloo::Options::create(request.timeout);
  const char* const interface = std::getenv("GLOO_SOCKET_IFNAME");
  options->devices.push_back(interface != nullptr && *interface != '\0'
                                 ? ProcessGroupGloo::createDeviceForInterface(interface)
                                 : ProcessGroupGloo::createDeviceForHostname(request.local_address));
  return c10::make_intrusive<ProcessGroupGloo>(request.store, static_cast<int>(request.rank),
                                               static_cast<int>(request.size), options);
}

c10::intrusive_ptr<c10d::Backend> make_fake(const BackendRequest& request) {
  return make_fake_backend(request.rank, request.size);
}

struct NamedBackend {
  std::string_view name;
  c10::intrusive_ptr<c10d::Backend> (*make)(const BackendRequest&);
};
constexpr std::array<NamedBackend, 2> kBackends{{{"gloo", make_gloo}, {"fake", make_fake}}};

}  // namespace

BackendFactory backend_factory(std::string_view name) {
  std::string known;
  for (const NamedBackend& backend : kBackends) {
    if (backend.name == name) return backend.make;
    known += (known.empty() ? "" : ", ") + std::string(backend.name);
  }
  TORCH_CHECK_VALUE(false, "backend: expected one of ", known, ", got '", name, "'");
}

}  // namespace titan::distributed
