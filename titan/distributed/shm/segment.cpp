#include "titan/distributed/shm/segment.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <sstream>
#include <utility>

namespace titan::distributed::shm {

std::string SegmentAddress::to_string() const {
  return fmt::format("{} {} {} {} {}", pid, descriptor, bytes, nonce[0], nonce[1]);
}

SegmentAddress SegmentAddress::parse(std::string_view text) {
  std::istringstream stream{std::string(text)};
  SegmentAddress address;
  stream >> address.pid >> address.descriptor >> address.bytes >> address.nonce[0] >> address.nonce[1];
  TORCH_CHECK(!stream.fail(), "shared memory: expected an address, got '", text, "'");
  return address;
}

Segment Segment::create(int64_t bytes) {
  Segment segment;
  segment.descriptor_ = memfd_create("titan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  TORCH_CHECK(segment.descriptor_ >= 0, "shared memory: memfd_create failed: ", std::strerror(errno));
  TORCH_CHECK(ftruncate(segment.descriptor_, kHead + bytes) == 0, "shared memory: no room for ", bytes,
              " bytes: ", std::strerror(errno));
  // Nobody can shorten it, so no access to it can end in SIGBUS.
  fcntl(segment.descriptor_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);

  std::random_device random;
  const auto draw = [&] { return (uint64_t{random()} << 32) | random(); };
  segment.address_ = {getpid(), segment.descriptor_, bytes, {draw(), draw()}};
  segment.map(segment.descriptor_);
  std::memcpy(segment.mapping_, segment.address_.nonce.data(), sizeof(segment.address_.nonce));
  return segment;
}

Segment Segment::open(const SegmentAddress& address) {
  Segment segment;
  segment.address_ = address;
  const std::string path = fmt::format("/proc/{}/fd/{}", address.pid, address.descriptor);
  segment.descriptor_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  TORCH_CHECK(segment.descriptor_ >= 0, "cannot open ", path, ": ", std::strerror(errno));
  struct stat status {};
  TORCH_CHECK(fstat(segment.descriptor_, &status) == 0 && status.st_size == kHead + address.bytes, path,
              " is another process's");
  segment.map(segment.descriptor_);
  TORCH_CHECK(std::memcmp(segment.mapping_, address.nonce.data(), sizeof(address.nonce)) == 0, path,
              " is another process's");
  segment.close_descriptor();
  return segment;
}

void Segment::map(int descriptor) {
  void* const mapping =
      mmap(nullptr, static_cast<size_t>(kHead + address_.bytes), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  TORCH_CHECK(mapping != MAP_FAILED, "shared memory: cannot map ", address_.bytes, " bytes: ", std::strerror(errno));
  mapping_ = static_cast<std::byte*>(mapping);
}

Segment::Segment(Segment&& other) noexcept
    : address_(other.address_),
      descriptor_(std::exchange(other.descriptor_, -1)),
      mapping_(std::exchange(other.mapping_, nullptr)) {}

Segment& Segment::operator=(Segment&& other) noexcept {
  std::swap(address_, other.address_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(mapping_, other.mapping_);
  return *this;
}

Segment::~Segment() {
  close_descriptor();
  if (mapping_ != nullptr) munmap(mapping_, static_cast<size_t>(kHead + address_.bytes));
}

void Segment::close_descriptor() {
  if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
}

}  // namespace titan::distributed::shm
