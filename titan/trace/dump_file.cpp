#include "titan/trace/dump_file.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <set>
#include <span>

#include "titan/pickle/pickle.h"

namespace titan::trace {
namespace {

using pickle::Pickle;
using pickle::PickleValue;

bool knows_no_global(std::string_view /*global*/) { return false; }

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& path) : pickle_(bytes, path, 0, knows_no_global) {}

  Dump read() {
    Dump dump;
    const PickleValue& root = pickle_.root();
    read_header(at(root, "titan"), dump);
    const auto& channels = pickle_.dict(at(root, "pg_config"));
    for (size_t i = 0; i + 1 < channels.size(); i += 2) {
      Channel channel = read_channel(pickle_.string(*channels[i]), *channels[i + 1]);
      dump.channels.emplace(channel.key, std::move(channel));
    }
    for (const PickleValue* entry : pickle_.sequence(at(root, "entries"))) {
      dump.operations.push_back(read_operation(*entry, dump));
    }
    return dump;
  }

 private:
  const PickleValue& at(const PickleValue& dict, std::string_view key) const {
    const auto& items = pickle_.dict(dict);
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      if (items[i]->kind == PickleValue::Kind::kString && items[i]->text == key) return *items[i + 1];
    }
    pickle_.fail(dict, fmt::format("expected a dump of titan's flight recorder, which has '{}'", key));
  }
  std::string text(const PickleValue& dict, std::string_view key) const { return pickle_.string(at(dict, key)); }
  int64_t integer(const PickleValue& dict, std::string_view key) const { return pickle_.integer(at(dict, key)); }
  int64_t time(const PickleValue& dict, std::string_view key) const {
    const PickleValue& value = at(dict, key);
    return value.kind == PickleValue::Kind::kNone ? 0 : pickle_.integer(value);
  }

  void read_header(const PickleValue& header, Dump& dump) const {
    dump.rank = integer(header, "rank");
    dump.world_size = integer(header, "world_size");
    dump.host = text(header, "host");
    dump.reason = text(header, "reason");
    dump.message = text(header, "message");
    dump.time_ns = integer(header, "time_ns");
  }

  // Its ranks are a text, as PyTorch writes them: "[0, 1]"; its description is "<name> on <backend>".
  Channel read_channel(const std::string& key, const PickleValue& value) const {
    Channel channel{.key = key, .name = text(value, "name")};
    const std::string description = text(value, "desc"), ranks = text(value, "ranks");
    const size_t on = description.rfind(" on ");
    if (on != std::string::npos) channel.backend = description.substr(on + 4);
    channel.is_messages = key.find('>') != std::string::npos;
    for (size_t i = 0; i < ranks.size(); ++i) {
      int64_t rank = 0;
      const auto [end, error] = std::from_chars(ranks.data() + i, ranks.data() + ranks.size(), rank);
      if (error != std::errc()) continue;
      channel.ranks.push_back(rank);
      i = static_cast<size_t>(end - ranks.data());
    }
    return channel;
  }

  Shape read_shape(const PickleValue& entry, std::string_view sizes_key, std::string_view dtypes_key) const {
    Shape shape;
    const auto& sizes = pickle_.sequence(at(entry, sizes_key));
    const auto& dtypes = pickle_.sequence(at(entry, dtypes_key));
    if (sizes.empty() || dtypes.empty()) return shape;
    for (const PickleValue* size : pickle_.sequence(*sizes.front())) shape.sizes.push_back(pickle_.integer(*size));
    shape.dtype = pickle_.string(*dtypes.front());
    return shape;
  }

  Operation read_operation(const PickleValue& entry, const Dump& dump) const {
    Operation operation;
    operation.id = integer(entry, "record_id");
    const PickleValue& group = at(entry, "process_group");
    operation.channel = pickle_.string(*pickle_.sequence(group).at(0));
    if (!dump.channels.contains(operation.channel)) pickle_.fail(group, "expected a group that pg_config names");
    operation.sequence = integer(entry, "collective_seq_id");
    operation.name = text(entry, "operation");
    operation.input = read_shape(entry, "input_sizes", "input_dtypes");
    operation.output = read_shape(entry, "output_sizes", "output_dtypes");
    operation.module = text(entry, "module");
    operation.enqueued_ns = time(entry, "time_created_ns");
    operation.waiting_ns = time(entry, "time_waiting_ns");
    operation.done_ns = time(entry, "time_discovered_completed_ns");
    return operation;
  }

  Pickle pickle_;
};

// "rank_" and 12 of "rank_12"; no digits at the end: -1.
std::pair<std::string, int64_t> split_name(const std::string& name) {
  const size_t begin = name.find_last_not_of("0123456789") + 1;
  int64_t rank = -1;
  std::from_chars(name.data() + begin, name.data() + name.size(), rank);
  return {name.substr(0, begin), rank};
}

}  // namespace

Dump read_dump(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  TORCH_CHECK_VALUE(file.good() || file.eof(), path.string(), ": cannot be read");
  return Reader(std::as_bytes(std::span(bytes)), path.string()).read();
}

std::vector<Dump> read_folder(const std::filesystem::path& folder, std::string_view prefix) {
  TORCH_CHECK_VALUE(std::filesystem::is_directory(folder), folder.string(),
                    ": expected a folder of flight-recorder dumps, got none of this name");
  std::map<std::string, std::map<int64_t, std::filesystem::path>> by_prefix;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto [name, rank] = split_name(entry.path().filename().string());
    if (rank < 0 || !entry.is_regular_file() || (!prefix.empty() && name != prefix)) continue;
    by_prefix[name][rank] = entry.path();
  }
  TORCH_CHECK_VALUE(!by_prefix.empty(), folder.string(), ": expected dumps named ",
                    prefix.empty() ? "<prefix>" : prefix, "<rank>, got none");
  TORCH_CHECK_VALUE(by_prefix.size() == 1, folder.string(), ": expected dumps of one job, got names that begin with '",
                    by_prefix.begin()->first, "' and '", by_prefix.rbegin()->first, "'; give one with --prefix");
  std::vector<Dump> dumps;
  for (const auto& [rank, path] : by_prefix.begin()->second) {
    dumps.push_back(read_dump(path));
    TORCH_CHECK_VALUE(dumps.back().rank == rank, path.string(), ": expected the dump of rank ", rank,
                      " by its name, got that of rank ", dumps.back().rank);
  }
  return dumps;
}

}  // namespace titan::trace
