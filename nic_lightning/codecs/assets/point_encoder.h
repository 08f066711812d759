/* Encoder of point clouds, written by `nic export --c-header`: C99, no allocation, no library functions.
 *
@ABOUT@
 *
 *     uint8_t file[NIC_FILE_BYTES];
 *     int32_t bytes = nic_encode_file(points, count, file);
 *
 * `points` are count * 3 floats, x y z of each, centred, the farthest at distance 1. The file is what nic_lightning
 * writes of the same points. Each feature is summed in NIC_REAL and rounded to float before it is quantised, as
 * nic_lightning does in double. With -DNIC_REAL=float some latents are another bin's; every file decodes all the same.
 * Do not compile with -ffast-math: a coordinate that is NaN would not be found.
 */

#ifndef NIC_POINT_ENCODER_H
#define NIC_POINT_ENCODER_H

#include <stdint.h>

#ifndef NIC_REAL
#define NIC_REAL double
#endif

@DATA@

/* Bytes of the longest string: 56 bits of a symbol, and the end of the string. */
#define NIC_STRING_BYTES (7 * NIC_CHANNELS + 8)
#define NIC_FILE_BYTES (NIC_HEAD_BYTES + NIC_STRING_BYTES + 4)
#define NIC_MOST_SYMBOL 1073741824.0f

typedef struct {
    uint32_t low, high;
    uint32_t pending; /* bits that wait for the next one, whose opposite they are */
    uint32_t bits;    /* written so far */
    uint8_t *out;
} nic_coder;

static inline void nic_put_bit(nic_coder *coder, uint32_t bit) {
    uint32_t value = bit;
    for (;;) {
        const uint8_t mask = (uint8_t)(0x80u >> (coder->bits & 7u));
        if (mask == 0x80u) coder->out[coder->bits >> 3] = 0;
        if (value) coder->out[coder->bits >> 3] |= mask;
        coder->bits++;
        if (coder->pending == 0) return;
        coder->pending--;
        value = 1u - bit;
    }
}

/* Narrow the interval to the part of the mass of 2^16 from `below` to `above`. */
static inline void nic_put(nic_coder *coder, uint32_t below, uint32_t above) {
    const uint32_t half = 0x80000000u, quarter = 0x40000000u;
    const uint64_t span = (uint64_t)coder->high - coder->low + 1u;
    coder->high = (uint32_t)(coder->low + ((span * above) >> 16) - 1u);
    coder->low = (uint32_t)(coder->low + ((span * below) >> 16));
    for (;;) {
        if (coder->high < half) {
            nic_put_bit(coder, 0);
        } else if (coder->low >= half) {
            nic_put_bit(coder, 1);
            coder->low -= half;
            coder->high -= half;
        } else if (coder->low >= quarter && coder->high < half + quarter) {
            coder->pending++;
            coder->low -= quarter;
            coder->high -= quarter;
        } else {
            return;
        }
        coder->low = 2u * coder->low;
        coder->high = 2u * coder->high + 1u;
    }
}

/* One symbol by the table of its channel; what is outside the table is its last entry and an excess in digits. */
static inline void nic_put_symbol(nic_coder *coder, int32_t channel, int32_t symbol) {
    const uint16_t *table = nic_tables + nic_places[channel];
    const int32_t escape = (int32_t)nic_places[channel + 1] - (int32_t)nic_places[channel] - 1;
    const int64_t value = (int64_t)symbol - nic_offsets[channel];
    uint64_t excess;
    int32_t digits = 1, d;
    if (value >= 0 && value < escape) {
        nic_put(coder, table[value], table[value + 1]);
        return;
    }
    excess = value >= escape ? 2u * (uint64_t)(value - escape) : 2u * (uint64_t)(-value) - 1u;
    nic_put(coder, table[escape], 65536u);
    while (digits < 9 && (excess >> (4 * digits)) != 0) digits++;
    nic_put(coder, (uint32_t)digits << 12, (uint32_t)(digits + 1) << 12);
    for (d = digits - 1; d >= 0; d--) {
        const uint32_t digit = (uint32_t)(excess >> (4 * d)) & 15u;
        nic_put(coder, digit << 12, (digit + 1u) << 12);
    }
}

/* The shortest end that lies in the interval: with `prefix` whatever bits follow, else with zeros behind it. */
static inline void nic_end(nic_coder *coder, int prefix) {
    int32_t k, b;
    for (k = coder->pending ? 1 : 0; k <= 32; k++) {
        const uint64_t step = (uint64_t)1 << (32 - k);
        const uint64_t first = (coder->low + step - 1u) / step * step;
        if (first <= coder->high && (!prefix || first + step - 1u <= coder->high)) {
            for (b = k - 1; b >= 0; b--) nic_put_bit(coder, (uint32_t)(first / step >> b) & 1u);
            return;
        }
    }
}

/* To the nearest integer, halves to the even one. */
static inline int32_t nic_round(float value) {
    int32_t whole;
    float rest;
    if (value >= NIC_MOST_SYMBOL) return (int32_t)1 << 30;
    if (value <= -NIC_MOST_SYMBOL) return -((int32_t)1 << 30);
    whole = (int32_t)value;
    rest = value - (float)whole;
    if (rest > 0.5f || (rest == 0.5f && (whole & 1))) whole++;
    if (rest < -0.5f || (rest == -0.5f && (whole & 1))) whole--;
    return whole;
}

/* Largest sum of each channel of the last layer over all points; 0 where a coordinate is NaN or too large. */
static inline int nic_largest(const float *points, int32_t count, NIC_REAL *largest) {
    NIC_REAL features[2][NIC_WIDEST];
    int32_t p, layer, o, k;
    for (o = 0; o < NIC_CHANNELS; o++) largest[o] = (NIC_REAL)-1e30;
    for (p = 0; p < count; p++) {
        const NIC_REAL *weight = nic_weights;
        int32_t row = 0;
        for (k = 0; k < 3; k++) {
            const float x = points[3 * p + k];
            if (!(x > -1e6f && x < 1e6f)) return 0;
            features[0][k] = (NIC_REAL)x;
        }
        for (layer = 0; layer < NIC_LAYERS; layer++) {
            const NIC_REAL *from = features[layer & 1];
            NIC_REAL *to = features[(layer + 1) & 1];
            for (o = 0; o < nic_shape[layer][0]; o++, row++) {
                NIC_REAL sum = 0;
                for (k = 0; k < nic_shape[layer][1]; k++) sum += *weight++ * from[nic_first[row] + k];
                if (layer == NIC_LAYERS - 1) {
                    if (sum > largest[o]) largest[o] = sum;
                } else {
                    sum += nic_bias[row];
                    to[o] = sum > 0 ? sum : 0;
                }
            }
        }
    }
    return 1;
}

/* Bits of a cloud into `out` of NIC_STRING_BYTES bytes, the highest of a byte first; -1 for points that are no cloud.
 * With `prefix` they tell their own end, as in a stream of clouds. */
static inline int32_t nic_encode_bits(const float *points, int32_t count, uint8_t *out, int prefix) {
    NIC_REAL largest[NIC_CHANNELS];
    nic_coder coder = {0, 0xffffffffu, 0, 0, 0};
    int32_t c;
    coder.out = out;
    if (count < 1 || !nic_largest(points, count, largest)) return -1;
    for (c = 0; c < NIC_CHANNELS; c++) {
        const NIC_REAL feature = largest[c] + nic_bias[NIC_ROWS - NIC_CHANNELS + c];
        const float latent = (float)(nic_gain[c] * (feature > 0 ? feature : 0));
        const float centred = latent - nic_medians[c];
        nic_put_symbol(&coder, c, nic_round(centred));
    }
    nic_end(&coder, prefix);
    return (int32_t)coder.bits;
}

/* Bytes of a cloud's string into `out` of NIC_STRING_BYTES bytes; -1 for points that are no cloud. */
static inline int32_t nic_encode_string(const float *points, int32_t count, uint8_t *out) {
    int32_t bytes = nic_encode_bits(points, count, out, 0);
    if (bytes < 0) return -1;
    bytes = (bytes + 7) / 8;
    while (bytes > 0 && out[bytes - 1] == 0) bytes--;
    return bytes;
}

/* Bytes of a cloud's .nic file into `out` of NIC_FILE_BYTES bytes; -1 for points that are no cloud. */
static inline int32_t nic_encode_file(const float *points, int32_t count, uint8_t *out) {
    int32_t bytes = nic_encode_string(points, count, out + NIC_HEAD_BYTES), i;
    uint32_t crc = 0xffffffffu;
    int bit;
    if (bytes < 0) return -1;
    bytes += NIC_HEAD_BYTES;
    for (i = 0; i < NIC_HEAD_BYTES; i++) out[i] = nic_head[i];
    for (i = 0; i < bytes; i++) {
        crc ^= out[i];
        for (bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1u) ? 0xedb88320u : 0u);
    }
    crc = ~crc;
    for (i = 0; i < 4; i++) out[bytes + i] = (uint8_t)(crc >> (8 * i));
    return bytes + 4;
}

#endif
