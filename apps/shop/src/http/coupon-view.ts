import Type from 'typebox';
import { compactDay } from '../coupons/calendar.ts';
import type { Coupon } from '../coupons/coupon.ts';

/** A coupon as the API shows it: what it was created with, and what is left. */
export const couponFields = {
  id: Type.String(),
  couponName: Type.String(),
  couponCode: Type.String(),
  downloadStartDate: Type.String(),
  downloadEndDate: Type.String(),
  availableStartDate: Type.String(),
  availableEndDate: Type.String(),
  discountType: Type.String(),
  cost: Type.Integer(),
  numberOfCoupons: Type.Integer(),
  couponType: Type.String(),
  timeZone: Type.String(),
  openingTime: Type.String(),
  dailyQuota: Type.Union([Type.Integer(), Type.Null()]),
  remaining: Type.Integer(),
};

export const couponSchema = Type.Object(couponFields);

/** What a member's own coupon has besides. */
export const issuedFields = { serialNumber: Type.Integer(), issuedAt: Type.String() };

export function couponView(coupon: Coupon) {
  return {
    id: coupon.id,
    couponName: coupon.name,
    couponCode: coupon.code,
    downloadStartDate: compactDay(coupon.download.startDate),
    downloadEndDate: compactDay(coupon.download.endDate),
    availableStartDate: compactDay(coupon.available.startDate),
    availableEndDate: compactDay(coupon.available.endDate),
    discountType: coupon.discountType,
    cost: coupon.cost,
    numberOfCoupons: coupon.numberOfCoupons,
    couponType: coupon.couponType,
    timeZone: coupon.download.timeZone,
    openingTime: coupon.download.openingTime,
    dailyQuota: coupon.dailyQuota,
    remaining: coupon.remaining,
  };
}
