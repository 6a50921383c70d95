#include "titan/checkpoint/saver.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <utility>

#include "titan/checkpoint/durable_file.h"
#include "titan/distributed/world.h"

namespace titan::checkpoint {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr auto kPoll = std::chrono::milliseconds(5);
constexpr std::string_view kSaid = "error: ";  // before what went wrong: no value is empty
constexpr const char* kMetadataName = ".metadata";

std::string text_of(const std::exception& error) {
  const auto* ours = dynamic_cast<const c10::Error*>(&error);
  return ours ? ours->what_without_backtrace() : error.what();
}

std::string done_key(int64_t serial, int64_t rank) { return fmt::format("checkpoint/{}/done/{}", serial, rank); }
std::string outcome_key(int64_t serial) { return fmt::format("checkpoint/{}/outcome", serial); }

// What a rank wrote, for rank 0, which reads it from the same folder.
fs::path part_file(const fs::path& folder, int64_t rank) { return folder / fmt::format("__{}.part", rank); }

json to_json(const DcpPlace& place) { return {place.file, place.offset, place.length}; }
DcpPlace place_from(const json& stored) {
  return {.file = stored.at(0).get<std::string>(),
          .offset = stored.at(1).get<uint64_t>(),
          .length = stored.at(2).get<uint64_t>()};
}
std::vector<int64_t> integers_from(const json& stored) { return stored.get<std::vector<int64_t>>(); }

void write_part(const fs::path& folder, int64_t rank, const WrittenShard& shard) {
  json tensors = json::array(), objects = json::array(), files = json::array();
  for (const auto& [name, tensor] : shard.metadata.tensors) {
    json chunks = json::array();
    for (const DcpChunk& chunk : tensor.chunks) {
      chunks.push_back({chunk.box.offsets, chunk.box.sizes, to_json(chunk.place)});
    }
    tensors.push_back({name, static_cast<int>(tensor.info.dtype), tensor.info.shape, std::move(chunks)});
  }
  for (const auto& [name, place] : shard.metadata.objects) objects.push_back({name, to_json(place)});
  for (const WrittenFile& file : shard.files) files.push_back({file.name, file.num_bytes, file.block_crc32s});
  const auto bytes = json::to_cbor({std::move(tensors), std::move(objects), std::move(files)});
  FileWriter(part_file(folder, rank)).write(std::as_bytes(std::span(bytes)));
}

WrittenShard read_part(const fs::path& folder, int64_t rank) {
  std::ifstream in(part_file(folder, rank), std::ios::binary);
  TORCH_CHECK(in.good(), part_file(folder, rank).string(), ": cannot be read; do all ranks see the same folder?");
  const json part = json::from_cbor(in);
  WrittenShard shard;
  for (const json& stored : part.at(0)) {
    DcpTensor& tensor = shard.metadata.tensors[stored.at(0).get<std::string>()];
    tensor.info = {static_cast<c10::ScalarType>(stored.at(1).get<int>()), integers_from(stored.at(2))};
    for (const json& chunk : stored.at(3)) {
      tensor.chunks.push_back({.box = {.offsets = integers_from(chunk.at(0)), .sizes = integers_from(chunk.at(1))},
                               .place = place_from(chunk.at(2))});
    }
  }
  for (const json& stored : part.at(1))
    shard.metadata.objects[stored.at(0).get<std::string>()] = place_from(stored.at(1));
  for (const json& stored : part.at(2)) {
    shard.files.push_back({.name = stored.at(0).get<std::string>(),
                           .num_bytes = stored.at(1).get<uint64_t>(),
                           .block_crc32s = stored.at(2).get<std::vector<uint32_t>>()});
  }
  return shard;
}

bool has_gpu_items(const SaveRequest& request) {
  return std::any_of(request.items.begin(), request.items.end(),
                     [](const ShardItem& item) { return !item.data().device().is_cpu(); });
}

}  // namespace

Saver::Saver(CheckpointFolder folder, std::shared_ptr<distributed::World> world, SaverOptions options)
    : folder_(std::move(folder)), world_(std::move(world)), options_(options), staging_(options.pinned) {
  // The ranks of a fake world are not there.
  if (world_ == nullptr || world_->backend() == "fake" || world_->size() == 1) return;
  rank_ = world_->rank();
  num_ranks_ = world_->size();
  store_ = world_->store().clone();
}

Saver::~Saver() {
  ends_ = true;
  if (under_way_.valid()) under_way_.wait();
}

void Saver::save(SaveRequest request) {
  wait();
  distributed::ProcessGroup* const group = talks() ? world_->group().get() : nullptr;

  // 1. A folder to write to.
  std::string error;
  if (rank_ == 0) {
    try {
      folder_.begin(request.step);
    } catch (const std::exception& failure) {  // told to all below
      error = text_of(failure);
    }
  }
  error = gather_texts(error, group)[0];
  TORCH_CHECK(error.empty(), error);

  // 2. Who writes what.
  const auto plan = plans_.find(request.contents);
  const bool fits = plan != plans_.end() && plan->second.fits(request.items, request.objects);
  bool all_fit = true;
  for (const std::string& answer : gather_texts(fits ? "y" : "n", group)) all_fit &= answer == "y";
  if (!all_fit) plans_.insert_or_assign(request.contents, SavePlan(request.items, request.objects, group));
  const SavePlan& settled = plans_.at(request.contents);
  request.items = settled.own_items(std::move(request.items));
  request.objects = settled.own_objects(std::move(request.objects));

  // 3. Now, or behind the training's back.
  const int64_t serial = num_saves_++;
  if (!options_.async) {
    error = run(std::move(request), serial, /*copied=*/nullptr);
    TORCH_CHECK(error.empty(), error);
    return;
  }
  const bool copies_now = has_gpu_items(request);
  if (copies_now) request.items = staging_.copy(request.items, options_.num_threads);
  std::promise<void> copied;
  if (!copies_now) copied_ = copied.get_future();
  under_way_ = std::async(std::launch::async, [this, request = std::move(request), serial, copies_now,
                                               copied = std::move(copied)]() mutable {
    return run(std::move(request), serial, copies_now ? nullptr : &copied);
  });
}

void Saver::wait_until_copied() {
  if (copied_.valid()) copied_.get();
}

void Saver::wait() {
  if (!under_way_.valid()) return;
  const std::string error = under_way_.get();
  TORCH_CHECK(error.empty(), error);
}

void Saver::check() {
  if (under_way_.valid() && under_way_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) wait();
}

std::string Saver::run(SaveRequest request, int64_t serial, std::promise<void>* copied) {
  std::string error;
  const auto attempt = [&](const auto& work) {
    try {
      if (error.empty()) work();
    } catch (const std::exception& failure) {  // every rank hears of it below
      error = text_of(failure);
    }
  };
  if (copied != nullptr) {
    attempt([&] { request.items = staging_.copy(request.items, options_.num_threads); });
    copied->set_value();
  }
  attempt([&] {
    const fs::path folder = folder_.saving_path(request.step);
    write_part(folder, rank_, write_shard(folder, rank_, request.items, request.objects, options_.num_threads));
  });
  if (num_ranks_ > 1) say(done_key(serial, rank_), error);
  if (rank_ != 0) return wait_for(outcome_key(serial));

  for (int64_t rank = 1; rank < num_ranks_; ++rank) {
    const std::string others = wait_for(done_key(serial, rank));
    if (error.empty() && !others.empty()) error = fmt::format("rank {}: {}", rank, others);
  }
  if (error.empty()) error = commit(request);
  if (!error.empty()) folder_.abandon(request.step);
  if (num_ranks_ == 1) return error;
  for (int64_t rank = 0; rank < num_ranks_; ++rank) store_->deleteKey(done_key(serial, rank));
  if (serial > 0) store_->deleteKey(outcome_key(serial - 1));  // all have read it, or they would not be here
  say(outcome_key(serial), error);
  return error;
}

std::string Saver::commit(const SaveRequest& request) const {
  const fs::path folder = folder_.saving_path(request.step);
  try {
    WrittenShard all;
    for (int64_t rank = 0; rank < num_ranks_; ++rank) {
      WrittenShard shard = read_part(folder, rank);
      merge(all.metadata, std::move(shard.metadata));
      all.files.insert(all.files.end(), shard.files.begin(), shard.files.end());
      fs::remove(part_file(folder, rank));
    }
    all.files.push_back(write_durable_file(folder / kMetadataName, to_pickle(all.metadata)));
    read_dcp_metadata(folder / kMetadataName);  // throws if the chunks do not fill their tensors
    Manifest manifest{.step = request.step, .contents = request.contents, .files = std::move(all.files)};
    if (request.rewrite) manifest.files = request.rewrite(folder);
    folder_.commit(request.step, manifest);
    if (request.then) request.then();
    return "";
  } catch (const std::exception& failure) {  // told to all by the caller
    return text_of(failure);
  }
}

void Saver::say(const std::string& key, const std::string& error) const {
  store_->set(key, std::string(kSaid) + error);
}

std::string Saver::wait_for(const std::string& key) const {
  while (!store_->check({key})) {
    if (ends_) return "the run ended before the checkpoint was complete";
    std::this_thread::sleep_for(kPoll);
  }
  return store_->get_to_str(key).substr(kSaid.size());
}

}  // namespace titan::checkpoint
