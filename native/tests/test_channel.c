// The channel: order, bounds, deaths at every step and at every instruction, threads and processes at once.
#include "step.h"

#include "../atomic.h"
#include "../channel/channel.h"

#include <stddef.h>
#include <string.h>

enum { KIND = 9, FILLER_BYTES = 1000, NEARLY_FULL = 62 };

typedef struct {
    phx_hold channel;
    uint64_t maxsize, max_bytes;
    bool with_block;  // each record carries one
    uint64_t blocks, leases;
} world;

// -- helpers ---------------------------------------------------------------------------------------------------------

static void count(uint64_t *blocks, uint64_t *leases) {
    phx_arena_figures figures;
    phx_arena_stats(&figures);
    *blocks = figures.blocks;
    *leases = figures.leases;
}

static phx_status put_number(world *of, uint64_t number) {
    uint32_t done;
    phx_handle handle = {0};
    phx_message message = {.payload = &number, .payload_bytes = sizeof number, .kind = KIND};
    if (of->with_block) {
        phx_hold block;
        CHECK(phx_block_new(64, false, &block) == PHX_OK);
        memcpy(block.address, &number, sizeof number);
        CHECK(phx_lease_give(&block, &handle) == PHX_OK);
        message.handles = &handle;
        message.handle_count = message.buffer_count = 1;
        message.weight = 64;
    }
    phx_status status = phx_channel_put(&of->channel, &message, 1, &done);
    if (status != PHX_OK && of->with_block) {
        phx_lease_drop(handle);
    }
    return status;
}

static void put_filler(world *of, uint32_t bytes) {
    static const char filler[FILLER_BYTES];
    uint32_t done;
    phx_message message = {.payload = filler, .payload_bytes = bytes, .kind = KIND};
    CHECK(phx_channel_put(&of->channel, &message, 1, &done) == PHX_OK);
}

static uint64_t read_number(const phx_message *message) {
    uint64_t number;
    CHECK(message->kind == KIND && message->payload_bytes == sizeof number);
    memcpy(&number, message->payload, sizeof number);
    if (message->handle_count == 1) {
        phx_hold block;
        uint64_t same;
        CHECK(phx_lease_take(message->handles[0], &block) == PHX_OK);
        memcpy(&same, block.address, sizeof same);
        CHECK(same == number);
        phx_block_release(&block);
    }
    return number;
}

// The next number; 0 when there is none.
static uint64_t take_number(world *of) {
    _Alignas(8) char storage[256];
    phx_batch batch;
    phx_message message;
    size_t position = 0;
    uint64_t number = 0;
    phx_batch_begin(&batch, storage, sizeof storage);
    phx_status status = phx_channel_take(&of->channel, 1, &batch);
    CHECK(status == PHX_OK || status == PHX_TIMED_OUT);
    if (status == PHX_OK) {
        CHECK(phx_batch_next(&batch, &position, &message));
        number = read_number(&message);
    }
    phx_batch_end(&batch);
    return number;
}

static void take_fillers(world *of, uint32_t wanted) {
    _Alignas(8) char storage[8];
    phx_batch batch;
    phx_batch_begin(&batch, storage, sizeof storage);
    CHECK(phx_channel_take(&of->channel, wanted, &batch) == PHX_OK && batch.count == wanted);
    phx_batch_end(&batch);
}

static void make_channel(world *of) { CHECK(phx_channel_new(of->maxsize, of->max_bytes, &of->channel) == PHX_OK); }

// A segment that is used up but for little, with nothing waiting in it: the next record but few needs a new one.
static void use_up_segment(world *of) {
    put_filler(of, FILLER_BYTES);  // leaves the first, small segment
    for (int i = 0; i < NEARLY_FULL; i++) {
        put_filler(of, FILLER_BYTES);
    }
    put_filler(of, 800);
    put_filler(of, 584);
    take_fillers(of, NEARLY_FULL + 3);
}

static void expect_nothing(world *of) {
    CHECK(take_number(of) == 0);
    CHECK(phx_channel_exact_size(&of->channel) == 0);
    CHECK(!phx_channel_is_full(&of->channel));
}

// What holds again once the channel is gone.
static void end_channel(world *of) {
    uint64_t blocks, leases;
    phx_block_release(&of->channel);
    phx_arena_sweep();
    count(&blocks, &leases);
    CHECK(blocks == of->blocks && leases == of->leases);
}

// -- a producer dies -------------------------------------------------------------------------------------------------

static void before_put(void *argument) {
    world *of = argument;
    make_channel(of);
    CHECK(put_number(of, 1) == PHX_OK);
}

static void before_put_that_grows(void *argument) {
    world *of = argument;
    make_channel(of);
    use_up_segment(of);
}

static void put_two(void *argument) { CHECK(put_number(argument, 2) == PHX_OK); }

static void put_until_grown(void *argument) {
    for (int i = 0; i < 4; i++) {
        CHECK(put_number(argument, 100 + (uint64_t)i) == PHX_OK);
    }
}

static void after_put(void *argument, bool finished) {
    world *of = argument;
    CHECK(put_number(of, 3) == PHX_OK);
    CHECK(take_number(of) == 1);
    uint64_t next = take_number(of);
    CHECK(next == 2 ? take_number(of) == 3 : !finished && next == 3);
    expect_nothing(of);
    CHECK(put_number(of, 4) == PHX_OK && take_number(of) == 4);
    end_channel(of);
}

// Here the survivor takes first: it finds what was published, though nobody has counted it.
static void after_put_take_first(void *argument, bool finished) {
    world *of = argument;
    CHECK(take_number(of) == 1);
    uint64_t next = take_number(of);
    CHECK(next == 2 || (next == 0 && !finished));
    CHECK(phx_channel_finish(&of->channel) == PHX_OK);
    CHECK(next == 0 || phx_channel_finish(&of->channel) == PHX_OK);
    expect_nothing(of);
    CHECK(!phx_channel_spin_items(&of->channel, 0));
    CHECK(put_number(of, 3) == PHX_OK && phx_channel_exact_size(&of->channel) == 1 && take_number(of) == 3);
    expect_nothing(of);
    end_channel(of);
}

// The survivors read on, and let the segment that the dead one's tail is in be used by others, before they put.
static void after_growing(void *argument, bool finished) {
    world *of = argument;
    uint64_t number, wanted = 100;
    while ((number = take_number(of)) != 0) {
        CHECK(number == wanted++);
    }
    CHECK(wanted == 104 || !finished);
    phx_hold others[4];
    for (int i = 0; i < 4; i++) {
        CHECK(phx_block_new(65536, false, &others[i]) == PHX_OK);
        memset(others[i].address, 0x77, 65536);
    }
    for (uint64_t i = 1; i <= 200; i++) {
        CHECK(put_number(of, i) == PHX_OK);
    }
    for (uint64_t i = 1; i <= 200; i++) {
        CHECK(take_number(of) == i);
    }
    expect_nothing(of);
    for (int i = 0; i < 4; i++) {
        CHECK(((char *)others[i].address)[0] == 0x77 && ((char *)others[i].address)[4096] == 0x77);
        phx_block_release(&others[i]);
    }
    end_channel(of);
}

// -- a consumer dies -------------------------------------------------------------------------------------------------

static void before_take(void *argument) {
    world *of = argument;
    make_channel(of);
    CHECK(put_number(of, 1) == PHX_OK && put_number(of, 2) == PHX_OK);
}

static void before_take_over_link(void *argument) {
    world *of = argument;
    make_channel(of);
    use_up_segment(of);
    for (uint64_t i = 1; i <= 4; i++) {
        CHECK(put_number(of, i) == PHX_OK);
    }
}

static void take_first(void *argument) { CHECK(take_number(argument) == 1); }

static void take_four(void *argument) {
    for (uint64_t i = 1; i <= 4; i++) {
        CHECK(take_number(argument) == i);
    }
}

static void after_take(void *argument, bool finished) {
    world *of = argument;
    CHECK(put_number(of, 3) == PHX_OK);
    bool has_room = of->maxsize == 3 && put_number(of, 4) == PHX_OK;  // whatever the dead one had counted
    uint64_t number = take_number(of);
    CHECK(of->maxsize != 3 || has_room == (number == 2));
    CHECK(number == 2 || (number == 1 && !finished && take_number(of) == 2));
    CHECK(take_number(of) == 3 && (!has_room || take_number(of) == 4));
    expect_nothing(of);
    CHECK(put_number(of, 4) == PHX_OK && take_number(of) == 4);
    end_channel(of);
}

static void after_take_over_link(void *argument, bool finished) {
    world *of = argument;
    uint64_t number = take_number(of);
    CHECK(finished ? number == 0 : number <= 4);
    for (; number != 0 && number < 4; number++) {
        CHECK(take_number(of) == number + 1);
    }
    expect_nothing(of);
    CHECK(put_number(of, 5) == PHX_OK && take_number(of) == 5);
    end_channel(of);
}

// -- deaths ----------------------------------------------------------------------------------------------------------

static const scenario scenarios[] = {
    {"put", before_put, put_two, after_put},
    {"put, then take", before_put, put_two, after_put_take_first},
    {"put that grows", before_put_that_grows, put_until_grown, after_growing},
    {"take", before_take, take_first, after_take},
    {"take over a link", before_take_over_link, take_four, after_take_over_link},
};

static const world worlds[] = {
    {.maxsize = 0}, {.with_block = true}, {.maxsize = 3}, {.max_bytes = 400, .with_block = true}};

static void test_every_instruction(void) {
    for (size_t one = 0; one < COUNT(scenarios); one++) {
        for (size_t i = 0; i < COUNT(worlds); i++) {
            bool needs_room =
                scenarios[one].before == before_put_that_grows || scenarios[one].before == before_take_over_link;
            world of = worlds[i];
            if (needs_room && (of.maxsize != 0 || of.max_bytes != 0)) {
                continue;
            }
            count(&of.blocks, &of.leases);
            every_step(&scenarios[one], &of);
        }
    }
}

static const char *const put_points[] = {"channel.put_locked", "channel.written", "channel.published",
                                         "channel.counted", "channel.sent"};
static const char *const grow_points[] = {"channel.grown", "channel.linked", "channel.moving", "arena.child_taken"};
static const char *const take_points[] = {"channel.take_locked", "channel.taken", "channel.claimed"};
static const char *const link_points[] = {"channel.retiring"};

static void die_at(const scenario *one, const char *const *points, size_t point_count, bool with_block) {
    for (size_t i = 0; i < point_count; i++) {
        world of = {.with_block = with_block};
        count(&of.blocks, &of.leases);
        one->before(&of);
        child victim = start(one->work, &of, points[i]);
        expect_end(victim, true);
        one->after(&of, false);
    }
}

static void test_kill_points(void) {
    for (int with_block = 0; with_block <= 1; with_block++) {
        die_at(&scenarios[0], put_points, COUNT(put_points), with_block);
        die_at(&scenarios[1], put_points, COUNT(put_points), with_block);
        die_at(&scenarios[2], grow_points, COUNT(grow_points), with_block);
        die_at(&scenarios[3], take_points, COUNT(take_points) - !with_block, with_block);
        die_at(&scenarios[4], link_points, COUNT(link_points), with_block);
    }
}

// A dead sender's block is not taken for sent because somebody else's record got the number that its own was to have.
static void test_unpublished_goes_back(void) {
    world of = {.with_block = true};
    uint64_t blocks, leases;
    count(&of.blocks, &of.leases);
    make_channel(&of);
    count(&blocks, &leases);
    child victim = start(put_two, &of, "channel.written");
    expect_end(victim, true);
    of.with_block = false;
    CHECK(put_number(&of, 3) == PHX_OK);
    phx_slot_end(victim.slot);
    uint64_t blocks_now, leases_now;
    count(&blocks_now, &leases_now);
    CHECK(blocks_now == blocks && leases_now == leases);
    CHECK(take_number(&of) == 3);
    expect_nothing(&of);
    end_channel(&of);
}

// A record whose block is gone with its sender is passed over, and counts as done.
static void test_gone_record(void) {
    world of = {.with_block = true};
    count(&of.blocks, &of.leases);
    make_channel(&of);
    child victim = start(put_two, &of, "channel.published");
    expect_end(victim, true);
    phx_slot_end(victim.slot);  // before anybody had counted the record
    CHECK(take_number(&of) == 0);
    CHECK(phx_channel_is_finished(&of.channel));
    expect_nothing(&of);
    end_channel(&of);
}

// -- many at once ----------------------------------------------------------------------------------------------------

enum { PRODUCERS = 3, CONSUMERS = 3, EACH = 20000 };

typedef struct {
    world of;
    uint32_t next_producer;
    uint64_t received, sum;
} crowd;

static void produce(crowd *with, uint64_t producer, uint64_t each) {
    for (uint64_t i = 1; i <= each; i++) {
        uint64_t number = producer << 32 | i;
        while (put_number(&with->of, number) != PHX_OK) {
            phx_channel_wait_space(&with->of.channel, PHX_FOREVER);
        }
    }
}

static void consume(crowd *with, uint64_t each) {
    uint64_t last[PRODUCERS + 1] = {0};
    while (phx_load64(&with->received) < each * PRODUCERS) {
        uint64_t number = take_number(&with->of);
        if (number == 0) {
            phx_channel_wait_items(&with->of.channel, after_ms(20));
            continue;
        }
        uint64_t producer = number >> 32;
        CHECK(producer >= 1 && producer <= PRODUCERS && (number & 0xffffffff) > last[producer]);
        last[producer] = number & 0xffffffff;
        phx_add64(&with->sum, number & 0xffffffff);
        phx_add64(&with->received, 1);
    }
}

static uint64_t each_of(const crowd *with) { return with->of.with_block ? EACH / 20 : EACH; }

static void *produce_thread(void *argument) {
    crowd *with = argument;
    produce(with, phx_add32(&with->next_producer, 1) + 1, each_of(with));
    return NULL;
}

static void *consume_thread(void *argument) {
    consume(argument, each_of(argument));
    return NULL;
}

static void check_crowd(crowd *with) {
    uint64_t each = each_of(with);
    CHECK(with->received == PRODUCERS * each && with->sum == PRODUCERS * (each * (each + 1) / 2));
    expect_nothing(&with->of);
    end_channel(&with->of);
}

static void test_threads(world of) {
    crowd with = {.of = of};
    count(&with.of.blocks, &with.of.leases);
    make_channel(&with.of);
    pthread_t threads[PRODUCERS + CONSUMERS];
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, i < PRODUCERS ? produce_thread : consume_thread, &with) == 0);
    }
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    check_crowd(&with);
}

static void produce_process(void *argument) { produce_thread(argument); }
static void consume_process(void *argument) { consume_thread(argument); }

static void test_processes(world of) {
    uint64_t blocks, leases;
    count(&blocks, &leases);
    crowd *with = shared(sizeof *with);
    *with = (crowd){.of = of};
    count(&with->of.blocks, &with->of.leases);
    make_channel(&with->of);
    child children[PRODUCERS + CONSUMERS];
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++) {
        children[i] = start(i < PRODUCERS ? produce_process : consume_process, with, NULL);
    }
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++) {
        expect_end(children[i], false);
        phx_slot_end(children[i].slot);
    }
    check_crowd(with);
}

// -- bounds ----------------------------------------------------------------------------------------------------------

static void test_bounds(void) {
    world of = {.maxsize = 2};
    count(&of.blocks, &of.leases);
    make_channel(&of);
    CHECK(put_number(&of, 1) == PHX_OK && !phx_channel_is_full(&of.channel));
    CHECK(put_number(&of, 2) == PHX_OK && phx_channel_is_full(&of.channel));
    CHECK(put_number(&of, 3) == PHX_TIMED_OUT && phx_channel_wait_space(&of.channel, after_ms(1)) == PHX_TIMED_OUT);
    CHECK(take_number(&of) == 1 && put_number(&of, 3) == PHX_OK);
    CHECK(take_number(&of) == 2 && take_number(&of) == 3);
    expect_nothing(&of);
    CHECK(phx_channel_finish(&of.channel) == PHX_OK && !phx_channel_is_finished(&of.channel));
    CHECK(phx_channel_finish(&of.channel) == PHX_OK && phx_channel_finish(&of.channel) == PHX_OK);
    CHECK(phx_channel_is_finished(&of.channel) && phx_channel_finish(&of.channel) == PHX_OVERFLOW);
    end_channel(&of);
}

static void test_heavy_record_has_room_alone(void) {
    world of = {.max_bytes = 10};
    count(&of.blocks, &of.leases);
    make_channel(&of);
    CHECK(put_number(&of, 1) == PHX_OK && put_number(&of, 2) == PHX_TIMED_OUT);
    CHECK(take_number(&of) == 1 && put_number(&of, 2) == PHX_OK && take_number(&of) == 2);
    expect_nothing(&of);
    end_channel(&of);
}

int main(void) {
    CHECK(phx_arena_open() == PHX_OK);
    test_bounds();
    test_heavy_record_has_room_alone();
    test_unpublished_goes_back();
    test_gone_record();
    test_kill_points();
    test_every_instruction();
    test_threads((world){0});
    test_threads((world){.maxsize = 3});
    test_threads((world){.with_block = true});
    test_processes((world){0});
    test_processes((world){.maxsize = 3});
    test_processes((world){.max_bytes = 1000, .with_block = true});
    return 0;
}
