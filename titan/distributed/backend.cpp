#include "titan/distributed/backend.h"

#include <c10/util/Exception.h>

#include <array>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "titan/distributed/fake_backend.h"
#include "titan/distributed/process_group.h"
#include "titan/distributed/shm/backend.h"
#include "titan/distributed/shm/meeting.h"
#include "titan/logging/logger.h"

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

c10::intrusive_ptr<c10d::Backend> make_shm(const BackendRequest& request) {
  shm::Meeting meeting{nullptr, "its ranks are on several"};
  if (shm::on_one_host(request)) meeting = shm::meet(request);
  TORCH_CHECK_VALUE(meeting.links != nullptr,
                    "comm.cpu_backend: shm is for groups whose ranks share the memory of one "
                    "host, which ",
                    name_of_ranks(request.ranks), " do not: ", meeting.why_not, "; use auto or gloo");
  return shm::make_backend(std::move(meeting.links), request.timeout);
}

c10::intrusive_ptr<c10d::Backend> make_auto(const BackendRequest& request) {
  if (!shm::on_one_host(request)) return make_gloo(request);
  shm::Meeting meeting = shm::meet(request);
  if (meeting.links != nullptr) return shm::make_backend(std::move(meeting.links), request.timeout);
  if (request.rank == 0) {
    logging::warning("{} are on one host, but talk through Gloo, since they cannot share memory: {}",
                     name_of_ranks(request.ranks), meeting.why_not);
  }
  return make_gloo(request);
}

struct NamedBackend {
  std::string_view name;
  c10::intrusive_ptr<c10d::Backend> (*make)(const BackendRequest&);
};
constexpr std::array<NamedBackend, 4> kBackends{
    {{"auto", make_auto}, {"shm", make_shm}, {"gloo", make_gloo}, {"fake", make_fake}}};

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
