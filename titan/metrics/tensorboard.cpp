#include "titan/metrics/tensorboard.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>

#include "titan/metrics/event_record.h"

namespace titan::metrics {
namespace {

constexpr std::array<uint32_t, 256> crc32c_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0u);
    table[byte] = crc;
  }
  return table;
}

std::string little_endian(uint64_t value, int num_bytes) {
  std::string bytes;
  for (int i = 0; i < num_bytes; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0) return "localhost";
  return name;
}

}  // namespace

uint32_t masked_crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc32c_table();
  uint32_t crc = 0xffffffffu;
  for (const char byte : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff];
  crc ^= 0xffffffffu;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder) {
  static std::atomic<int> num_files = 0;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  TORCH_CHECK(!error, folder.string(), ": cannot create the TensorBoard folder: ", error.message());
  // TensorBoard shows files whose name holds "tfevents"; the rest keeps two writers apart.
  path_ = folder / fmt::format("events.out.tfevents.{:010}.{}.{}.{}", static_cast<int64_t>(seconds_since_1970()),
                               host_name(), getpid(), num_files++);
  file_ = std::fopen(path_.c_str(), "wbx");
  TORCH_CHECK(file_ != nullptr, path_.string(), ": cannot create the TensorBoard file: ", std::strerror(errno));

  write_record(version_event(seconds_since_1970()));
  flush();
}

TensorBoardWriter::~TensorBoardWriter() {
  if (file_ != nullptr) std::fclose(file_);
}

void TensorBoardWriter::add_scalar(std::string_view tag, double value, int64_t step) {
  write_record(scalar_event(seconds_since_1970(), step, tag, static_cast<float>(value)));
}

void TensorBoardWriter::write_record(std::string_view event) {
  const std::string length = little_endian(event.size(), 8);
  std::string record = length + little_endian(masked_crc32c(length), 4);
  record.append(event).append(little_endian(masked_crc32c(event), 4));
  TORCH_CHECK(std::fwrite(record.data(), 1, record.size(), file_) == record.size(), path_.string(),
              ": cannot write TensorBoard events: ", std::strerror(errno));
}

void TensorBoardWriter::flush() {
  TORCH_CHECK(std::fflush(file_) == 0, path_.string(), ": cannot write TensorBoard events: ", std::strerror(errno));
}

}  // namespace titan::metrics
